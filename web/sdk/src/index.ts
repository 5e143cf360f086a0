/** `@downstage/viewer`: the element and the headless core. */

export * from "./core";
export { DownstageViewer } from "./viewer";
