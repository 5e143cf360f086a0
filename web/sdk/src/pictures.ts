/** The boxes with pictures: where they are, and which one is seen. */

import { placePicture, type Box } from "./geometry";
import type { Size } from "./parameters";

export class Pictures {
  readonly element = document.createElement("div");
  #natural: Size = { width: 0, height: 0 };
  #place: Box = { left: 0, top: 0, width: 0, height: 0 };

  /** *box* goes under the old ones: the last picture stays until there is a new one. */
  add(box: HTMLElement): void {
    this.element.prepend(box);
  }

  keepOnly(box: HTMLElement | undefined): void {
    for (const picture of [...this.element.children]) {
      if (picture !== box) picture.remove();
    }
  }

  set natural(size: Size) {
    this.#natural = size;
  }

  /** Place all pictures in *host*, whose picture has *ratio* pixels for one of CSS. */
  layout(host: HTMLElement, ratio: number): void {
    const room = { width: host.clientWidth, height: host.clientHeight };
    if (room.width === 0 || room.height === 0) return;
    this.#place = placePicture(room, this.#natural, ratio);
    for (const picture of this.element.children) {
      const { style } = picture as HTMLElement;
      for (const side of ["left", "top", "width", "height"] as const) {
        style[side] = `${String(this.#place[side])}px`;
      }
    }
  }

  /** The picture's place in page coordinates. */
  onPage(host: HTMLElement): Box {
    const own = host.getBoundingClientRect();
    return { ...this.#place, left: own.left + this.#place.left, top: own.top + this.#place.top };
  }
}
