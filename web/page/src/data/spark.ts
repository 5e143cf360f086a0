/** A stream's rate over the last minute, as large as a word. */

import uPlot from "uplot";

const WIDTH = 64, HEIGHT = 26;

export class Spark {
  readonly element = document.createElement("span");
  #plot: uPlot | null = null;

  constructor() {
    this.element.className = "spark";
    this.element.setAttribute("aria-hidden", "true"); // the figure stands beside it
  }

  show(rates: readonly number[]): void {
    const data: uPlot.AlignedData = [rates.map((_, at) => at), [...rates]];
    if (this.#plot === null) this.#plot = new uPlot(OPTIONS, data, this.element);
    else this.#plot.setData(data);
  }

  stop(): void {
    this.#plot?.destroy();
    this.#plot = null;
  }
}

const OPTIONS: uPlot.Options = {
  width: WIDTH,
  height: HEIGHT,
  padding: [3, 0, 1, 0],
  pxAlign: 0,
  cursor: { show: false },
  legend: { show: false },
  scales: { x: { time: false, range: (_plot, _low, high) => [high - 59, high] }, y: { range: (_plot, _low, high) => [0, high || 1] } },
  axes: [{ show: false }, { show: false }],
  series: [{}, { stroke: "#f0b35b", fill: "rgb(240 179 91 / 0.16)", width: 1.5, points: { show: false } }],
};
