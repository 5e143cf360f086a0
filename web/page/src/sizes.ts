/** Sizes as people say them. */

const UNITS = ["B", "KB", "MB", "GB", "TB"] as const;

/** A size as people say it: at most three digits. */
export function sizeOf(bytes: number): string {
  let value = bytes, unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${UNITS[unit] ?? ""}`;
}
