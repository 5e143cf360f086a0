/** The smaller build, without subtitles and protected media, has no types of its own. */

declare module "hls.js/light" {
  export { default } from "hls.js";
  export * from "hls.js";
}
