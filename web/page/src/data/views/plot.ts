/** Numbers over the last half minute: those of JSON, and those of short arrays. */

import uPlot from "uplot";
import type { Entry } from "../entries";
import { Lines, MOST_LINES, numbersIn, pick, type Found } from "../fields";
import { figuresOf, jsonOf } from "../kinds";
import { box, type Setting, type View } from "./view";

export const WINDOW_MS = 30_000;
/** Screens are faster than eyes that read a plot. */
const EACH_MS = 50;
const MOST_NUMBERS = 64;
const COLOURS = [
  "#f0b35b", "#6cb6ff", "#7fcf9f", "#e38fd0", "#f2857a", "#b9a5ff", "#5fd0d6", "#d7d36b",
  "#c7956d", "#9ab8a0", "#8fa3ff", "#ff9fb0",
] as const;

export class PlotView implements View {
  readonly element = box("plot");
  readonly words = "";
  readonly #setting: Setting;
  readonly #lines = new Lines(WINDOW_MS);
  readonly #chart = document.createElement("div");
  readonly #fields = document.createElement("details");
  readonly #size: ResizeObserver;
  #plot: uPlot | null = null;
  #names: string[] = [];
  #known: string[] = [];
  #isChosen = false;
  #drawnAt = 0;

  constructor(setting: Setting) {
    this.#setting = setting;
    this.#chart.className = "chart";
    this.#fields.className = "fields";
    this.#fields.hidden = true;
    this.element.append(this.#chart, this.#fields);
    this.#size = new ResizeObserver(() => {
      this.#plot?.setSize(this.#room());
    });
    this.#size.observe(this.#chart);
  }

  take(entries: readonly Entry[]): void {
    for (const entry of entries) {
      const values = this.#values(entry);
      if (values.size === 0) {
        this.#setting.trouble("There is no number in this entry. Show it as a tree.");
        continue;
      }
      this.#lines.add(entry.at, values);
    }
    const names = this.#lines.names;
    if (names.join("\n") !== this.#known.join("\n")) this.#learn(names);
  }

  tick(): void {
    const now = performance.now();
    if (now - this.#drawnAt < EACH_MS || this.#plot === null) return;
    this.#drawnAt = now;
    const end = this.#setting.clock.now / 1000;
    const plot = this.#plot;
    plot.batch(() => {
      plot.setData(this.#lines.columns(this.#names), false);
      plot.setScale("x", { min: end - WINDOW_MS / 1000, max: end });
    });
    // Where no hand points, the figures beside the names are the newest ones.
    if ((plot.cursor.left ?? -1) < 0) plot.setLegend({ idx: this.#lines.length - 1 }, false);
  }

  reset(): void {
    this.#lines.clear();
  }

  stop(): void {
    this.#size.disconnect();
    this.#plot?.destroy();
    this.#plot = null;
  }

  #values(entry: Entry): Found {
    const figures = figuresOf(this.#setting.about, entry.data);
    if (figures === null) return numbersIn(jsonOf(entry.data));
    return numbersIn([...figures.data.subarray(0, MOST_NUMBERS)]);
  }

  #learn(names: string[]): void {
    this.#known = names;
    if (!this.#isChosen) this.#names = pick(names);
    this.#build();
    this.#fields.hidden = names.length < 2;
    const summary = document.createElement("summary");
    summary.textContent = `Lines: ${String(this.#names.length)} of ${String(names.length)}`;
    this.#fields.replaceChildren(summary, ...names.map((name) => this.#choice(name)));
  }

  #choice(name: string): HTMLElement {
    const label = document.createElement("label");
    const check = document.createElement("input");
    check.type = "checkbox";
    check.checked = this.#names.includes(name);
    check.addEventListener("change", () => {
      this.#isChosen = true;
      this.#names = check.checked
        ? [...this.#names, name].slice(-MOST_LINES) : this.#names.filter((one) => one !== name);
      this.#learn(this.#known);
    });
    label.append(check, name);
    return label;
  }

  #room(): { width: number; height: number } {
    return { width: Math.max(120, this.#chart.clientWidth), height: Math.max(90, this.#chart.clientHeight - 26) };
  }

  #build(): void {
    this.#plot?.destroy();
    const axis: uPlot.Axis = {
      stroke: "#9aa3af", grid: { stroke: "rgb(255 255 255 / 0.07)", width: 1 },
      ticks: { stroke: "rgb(255 255 255 / 0.07)", width: 1 }, font: "12px system-ui",
    };
    const options: uPlot.Options = {
      ...this.#room(),
      padding: [12, 12, 0, 0],
      cursor: { drag: { x: false, y: false }, points: { size: 6 } },
      scales: { x: { time: true, auto: false } },
      axes: [
        { ...axis, values: (_plot, times) => times.map((time) => new Date(time * 1000).toLocaleTimeString()),
          space: 90, size: 30 },
        { ...axis, size: 56 },
      ],
      legend: { live: true, markers: { width: 2 } },
      series: [
        { value: (_plot, time) => (time === null ? "" : new Date(time * 1000).toLocaleTimeString()) },
        ...this.#names.map((name, at): uPlot.Series => ({
          label: name, stroke: COLOURS[at % COLOURS.length] ?? "#fff", width: 1.5, spanGaps: true,
          points: { show: false },
          value: (_plot, value) => (value === null ? "" : String(Number(value.toPrecision(5)))),
        })),
      ],
    };
    this.#chart.replaceChildren();
    this.#plot = new uPlot(options, this.#lines.columns(this.#names), this.#chart);
    this.#chart.setAttribute("role", "img");
    this.#chart.setAttribute("aria-label", `Plot of ${this.#names.join(", ")}`);
  }
}
