/** Paths, sizes and kinds: what a listing says of its entries. */

import type { Entry } from "./wire";

const STAGES = /\.(usd|usda|usdc|usdz)$/i;
const PICTURES = /\.(png|jpe?g|webp|gif)$/i;
const TEXTS = /\.(usda|txt|md|json|toml|ya?ml|csv|py|xml|mtlx|ini|cfg|log|glsl|osl)$/i;

/** *path* as it stands in a URL, each segment by itself. */
export function encodePath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}

/** The folder that the page's address names; the root for whatever cannot be read. */
export function folderOf(pathname: string): string {
  const rest = pathname.replace(/^\/files\/?/, "").replace(/\/+$/, "");
  if (rest === "") return "/";
  try {
    return `/${rest.split("/").map(decodeURIComponent).join("/")}`;
  } catch {
    return "/";
  }
}

/** The address of the page that shows *folder*. */
export function pageOf(folder: string): string {
  return folder === "/" ? "/files" : `/files${encodePath(folder)}`;
}

export function join(folder: string, name: string): string {
  return folder === "/" ? `/${name}` : `${folder}/${name}`;
}

export function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}

/** Each folder from the root to *path*, with its name. */
export function crumbs(path: string): { name: string; path: string }[] {
  const found = [{ name: "Files", path: "/" }];
  let at = "";
  for (const name of path.split("/").filter(Boolean)) {
    at += `/${name}`;
    found.push({ name, path: at });
  }
  return found;
}

/** Nanoseconds as the text that `Date` reads. */
export function timeOf(nanoseconds: number): string {
  return new Date(nanoseconds / 1e6).toISOString();
}

export const isFolder = (entry: Entry): boolean => entry.kind === "folder" || entry.kind === "mount";
export const isStage = (name: string): boolean => STAGES.test(name);
export const isPicture = (name: string): boolean => PICTURES.test(name);
export const isText = (name: string): boolean => TEXTS.test(name);

/** Folders first, then by name as people count: 2 before 10. Hidden ones are left out. */
export function arrange(entries: readonly Entry[]): Entry[] {
  const order = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  return entries
    .filter((entry) => !entry.name.startsWith("."))
    .sort((a, b) => Number(isFolder(b)) - Number(isFolder(a)) || order.compare(a.name, b.name));
}

/** Why *name* cannot be given to a file; empty where it can. */
export function faultOf(name: string): string {
  if (name.trim() === "") return "A name is needed.";
  if (name === "." || name === "..") return "That name means a folder already.";
  if (/[/\\]/.test(name)) return "A name has no slash.";
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f]/.test(name)) return "A name has no control characters.";
  return new TextEncoder().encode(name).length > 255 ? "The name is too long." : "";
}
