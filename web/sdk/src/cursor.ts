/** The application's cursor as CSS. */

import type { CursorShape } from "./wire";

const NAMED = /^[a-z-]{1,20}$/;
const BASE64 = /^[A-Za-z0-9+/]+=*$/;

/** A value for `cursor`; what cannot be trusted to be one becomes `default`. */
export function cssCursor(shape: CursorShape, ratio: number): string {
  if ("css" in shape) return NAMED.test(shape.css) ? shape.css : "default";
  if (!BASE64.test(shape.png)) return "default";
  const url = `url("data:image/png;base64,${shape.png}")`;
  const at = (value: number): string => String(Math.max(0, Math.round(value / ratio)) || 0);
  const place = `${at(shape.x)} ${at(shape.y)}`;
  // The picture is in device pixels, so the cursor is too.
  const image = ratio === 1 ? url : `image-set(${url} ${String(ratio)}x)`;
  return `${image} ${place}, default`;
}
