/** Where the picture is inside its box, and where a pointer is inside the picture. */

import type { Size } from "./parameters";

export interface Box extends Size {
  readonly left: number;
  readonly top: number;
}

/** A difference of this many device pixels is the encoder's rounding, not another shape. */
const ROUNDING = 3;

/**
 * The part of *box* (CSS pixels) for a picture of *size* (device pixels): pixel for pixel where
 * they agree but for the encoder's rounding, else as large as fits, in the middle.
 */
export function placePicture(box: Size, size: Size, ratio: number): Box {
  if (size.width <= 1 || size.height <= 1) return { left: 0, top: 0, ...plain(box) };
  const own = { width: size.width / ratio, height: size.height / ratio };
  const near = (a: number, b: number): boolean => Math.abs(a - b) * ratio < ROUNDING;
  if (near(own.width, box.width) && near(own.height, box.height)) {
    return { left: 0, top: 0, ...own };
  }
  const scale = Math.min(box.width / own.width, box.height / own.height);
  const shown = { width: own.width * scale, height: own.height * scale };
  return {
    left: (box.width - shown.width) / 2,
    top: (box.height - shown.height) / 2,
    ...shown,
  };
}

function plain(box: Size): Size {
  return { width: box.width, height: box.height };
}

/** Page coordinates as 0..1 of the picture. */
export function within(picture: Box, x: number, y: number): { x: number; y: number } {
  return {
    x: picture.width > 0 ? (x - picture.left) / picture.width : 0,
    y: picture.height > 0 ? (y - picture.top) / picture.height : 0,
  };
}
