/** What the page shows, as its address says it: `/watch/a+b`, `/watch/recordings/NAME/a+b`. */

export interface Place {
  readonly recording: string | null;
  readonly streams: readonly string[];
}

const MOST = 16;

export function placeOf(pathname: string): Place {
  const parts = pathname.split("/").slice(2).map(decoded);
  const isRecording = parts[0] === "recordings" && (parts[1] ?? "") !== "";
  const joined = (isRecording ? parts[2] : parts[0]) ?? "";
  return {
    recording: isRecording ? (parts[1] ?? null) : null,
    streams: [...new Set(joined.split("+").filter(Boolean))].slice(0, MOST),
  };
}

export function pathOf({ recording, streams }: Place): string {
  const joined = streams.map((name) => encodeURIComponent(name).replaceAll("%3A", ":")).join("+");
  const parts = recording === null ? [joined] : ["recordings", encodeURIComponent(recording), joined];
  return `/watch/${parts.join("/")}`.replace(/\/+$/, "");
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return "";
  }
}
