/** The page's URL: every parameter of the Omniverse public streaming web client, and ours. */

export type TransportChoice = "auto" | "webrtc" | "websocket";

export interface Size {
  readonly width: number;
  readonly height: number;
}

export interface Parameters {
  readonly session: string | null;
  /** One-time join code, from the fragment or from `accessToken`. */
  readonly code: string | null;
  /** One-time code that makes the first administrator. */
  readonly setup: string | null;
  readonly transport: TransportChoice;
  readonly stats: boolean;
  readonly resolution: Size | null;
  readonly fps: number | null;
  /** `free`: the browser's cursor, never pointer lock. */
  readonly freeCursor: boolean;
  readonly mic: boolean;
  readonly autolaunch: boolean;
  /** Share of the window's device pixels that the picture asks for. */
  readonly scale: number;
  readonly nucleus: string | null;
  /** Host of the REST interface, signalling and media, when another than the page's own. */
  readonly server: string | null;
  readonly signalling: string | null;
  readonly media: { readonly host: string; readonly port: number } | null;
  readonly backend: string | null;
  readonly terminateVerb: string;
  /** Parameters that we do not know, and values that we cannot use, in words. */
  readonly notes: readonly string[];
}

const KNOWN = new Set([
  "server", "signalingserver", "signalingport", "mediaserver", "mediaport", "sessionid", "session",
  "mic", "cursor", "nucleus", "resolution", "fps", "autolaunch", "backendurl", "accesstoken",
  "terminateverb", "transport", "stats", "quality",
]);
const TRANSPORTS: readonly string[] = ["auto", "webrtc", "websocket"];
const SCALES: Readonly<Record<string, number>> = { low: 0.5, medium: 0.75, high: 1, auto: 1 };
const VERBS: readonly string[] = ["DELETE", "POST", "PUT", "PATCH"];

/** Read *url*; never throws: what cannot be used becomes a note. */
export function parseParameters(url: URL): Parameters {
  const notes: string[] = [];
  const query = foldCase(url.searchParams);
  const hash = new URLSearchParams(url.hash.replace(/^#/, ""));
  for (const name of query.keys()) {
    if (!KNOWN.has(name)) notes.push(`URL parameter “${name}” is not known here; ignored`);
  }
  const get = (name: string): string | null => query.get(name)?.trim() || null;
  return {
    session: get("sessionid") ?? get("session"),
    code: hash.get("join") ?? get("accesstoken"),
    setup: hash.get("setup"),
    transport: oneOf(get("transport"), TRANSPORTS, "auto", "transport", notes) as TransportChoice,
    stats: isOn(get("stats"), false),
    resolution: parseResolution(get("resolution"), notes),
    fps: parseNumber(get("fps"), 1, 240, "fps", notes),
    freeCursor: get("cursor") === "free",
    mic: isOn(get("mic"), false),
    autolaunch: isOn(get("autolaunch"), true),
    scale: SCALES[oneOf(get("quality"), Object.keys(SCALES), "auto", "quality", notes)] ?? 1,
    nucleus: get("nucleus"),
    server: get("server"),
    signalling: hostPort(get("signalingserver"), get("signalingport")),
    media: parseMedia(get("mediaserver"), get("mediaport"), notes),
    backend: parseBackend(get("backendurl"), url, notes),
    terminateVerb: oneOf(
      get("terminateverb")?.toUpperCase() ?? null, VERBS, "DELETE", "terminateVerb", notes,
    ),
    notes,
  };
}

/** *url* without anything that opens a session: what may stay in the address bar. */
export function withoutSecrets(url: URL): string {
  const clean = new URL(url);
  for (const name of [...clean.searchParams.keys()]) {
    if (name.toLowerCase() === "accesstoken") clean.searchParams.delete(name);
  }
  return clean.pathname + clean.search;
}

function foldCase(params: URLSearchParams): Map<string, string> {
  const folded = new Map<string, string>();
  for (const [name, value] of params) folded.set(name.toLowerCase(), value);
  return folded;
}

function isOn(value: string | null, fallback: boolean): boolean {
  return value === null ? fallback : !["0", "false", "no", "off"].includes(value.toLowerCase());
}

function oneOf(
  value: string | null, allowed: readonly string[], fallback: string, name: string, notes: string[],
): string {
  if (value === null) return fallback;
  if (allowed.includes(value)) return value;
  notes.push(`URL parameter “${name}” must be one of ${allowed.join(", ")}; using ${fallback}`);
  return fallback;
}

function parseNumber(
  value: string | null, least: number, most: number, name: string, notes: string[],
): number | null {
  if (value === null) return null;
  const number = Number(value);
  if (Number.isInteger(number) && number >= least && number <= most) return number;
  notes.push(`URL parameter “${name}” must be ${String(least)} to ${String(most)}; ignored`);
  return null;
}

function parseResolution(value: string | null, notes: string[]): Size | null {
  if (value === null) return null;
  const match = /^(\d{1,5})\s*[xX×]\s*(\d{1,5})$/.exec(value);
  const width = Number(match?.[1] ?? 0);
  const height = Number(match?.[2] ?? 0);
  if (width > 0 && height > 0 && width <= 65535 && height <= 65535) return { width, height };
  notes.push("URL parameter “resolution” must look like 1920x1080; following the window");
  return null;
}

function hostPort(host: string | null, port: string | null): string | null {
  if (host === null) return null;
  return port === null ? host : `${host}:${port}`;
}

function parseMedia(
  host: string | null, port: string | null, notes: string[],
): { host: string; port: number } | null {
  const number = parseNumber(port, 1, 65535, "mediaport", notes);
  return host === null || number === null ? null : { host, port: number };
}

function parseBackend(value: string | null, page: URL, notes: string[]): string | null {
  if (value === null) return null;
  try {
    const backend = new URL(value, page);
    if (backend.origin === page.origin) return backend.href.replace(/\/+$/, "");
    notes.push("URL parameter “backendurl” names another origin than this page; ignored");
  } catch {
    notes.push("URL parameter “backendurl” is not a URL; ignored");
  }
  return null;
}

/** Hosts named in the URL that are not this page's own: it talks only to its own. */
export function foreignHosts(parameters: Parameters, page: URL): readonly string[] {
  const own = (host: string): boolean => host === page.host || host.split(":")[0] === page.hostname;
  return [parameters.server, parameters.signalling].filter(
    (host): host is string => host !== null && !own(host),
  );
}
