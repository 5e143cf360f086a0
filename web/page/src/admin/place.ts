/** Where one is on the page, as its address says. */

export interface Place {
  readonly collection: string | null;
  readonly id: string | null;
}

export function placeOf(path: string): Place {
  const [collection, ...rest] = path.replace(/^\/admin\/?/, "").split("/").map(decoded);
  const id = rest.join("/");
  return { collection: collection || null, id: id || null };
}

export function pathOf(place: Place): string {
  const parts = ["/admin", place.collection, place.collection && place.id];
  return parts.filter((part) => part !== null && part !== "").map((part, at) =>
    (at === 0 ? part : encodeURIComponent(part!))).join("/");
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return "";
  }
}

const MOST = 128;

/** Why *id* cannot be one; empty where it can. */
export function faultOfId(id: string): string {
  if (id === "") return ""; // one is made up
  if (id === "." || id === "..") return "Dots alone are no id.";
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f]/.test(id)) return "An id has no control characters.";
  return [...id].length > MOST ? `An id has at most ${String(MOST)} characters.` : "";
}

/** As the server makes them up: 24 digits. */
export function newId(): string {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
