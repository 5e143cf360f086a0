/** Places on the bar of a recording, and the time that passes on it. Times are ms since 1970. */

export interface Span {
  readonly start: number;
  readonly stop: number;
}

export const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 4, 8] as const;

export function clamp(at: number, span: Span): number {
  return Math.min(span.stop, Math.max(span.start, at));
}

/** Where *at* lies on the bar, from 0 to 1. */
export function shareOf(at: number, span: Span): number {
  const length = span.stop - span.start;
  return length <= 0 ? 0 : (clamp(at, span) - span.start) / length;
}

export function timeAt(share: number, span: Span): number {
  return clamp(span.start + share * (span.stop - span.start), span);
}

/** Where playing is after *passed* ms of ours; and whether it came to the end. */
export function advance(
  at: number, passed: number, speed: number, span: Span, isLoop: boolean,
): { at: number; isOver: boolean; isRound: boolean } {
  const to = at + passed * speed;
  const length = span.stop - span.start;
  if (to < span.stop) return { at: Math.max(span.start, to), isOver: false, isRound: false };
  if (isLoop && length > 0) {
    return { at: span.start + ((to - span.start) % length), isOver: false, isRound: true };
  }
  return { at: span.stop, isOver: true, isRound: false };
}

/** How dark each mark of a stream is, from 0 to 1: something is never as light as nothing. */
export function densities(counts: readonly number[]): number[] {
  const most = Math.max(0, ...counts);
  return counts.map((count) => (count === 0 || most === 0 ? 0 : 0.35 + 0.65 * (count / most)));
}

/** Marks at even times, as many as fit with *least* share of the bar between two. */
export function rulers(span: Span, least: number): { share: number; label: string }[] {
  const length = span.stop - span.start;
  if (length <= 0) return [];
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400];
  const step = (steps.find((seconds) => (seconds * 1000) / length >= least) ?? 86400 * 7) * 1000;
  const marks = [];
  for (let at = 0; at <= length; at += step) {
    marks.push({ share: at / length, label: duration(at, step < 1000) });
  }
  return marks;
}

/** A length as a clock shows it: `1:05`, `1:05.3`, `2:01:05`. */
export function duration(ms: number, isFine = false): string {
  const tenths = Math.round(Math.max(0, ms) / 100);
  const whole = Math.floor(tenths / 10);
  const [hours, minutes, seconds] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (value: number): string => String(value).padStart(2, "0");
  const text = hours > 0 ? `${String(hours)}:${two(minutes)}:${two(seconds)}` : `${String(minutes)}:${two(seconds)}`;
  return isFine ? `${text}.${String(tenths % 10)}` : text;
}

/** How old something is, in the coarsest unit that says enough. */
export function age(ms: number): string {
  if (ms < 1000) return `${String(Math.max(0, Math.round(ms)))} ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 120_000) return `${String(Math.round(ms / 1000))} s`;
  if (ms < 7_200_000) return `${String(Math.round(ms / 60_000))} min`;
  return ms < 172_800_000 ? `${String(Math.round(ms / 3_600_000))} h` : `${String(Math.round(ms / 86_400_000))} days`;
}
