/** The headless core: everything but the element. */

export { Api } from "./api";
export { codecOf } from "./h264";
export { Connection, type ConnectionOptions } from "./connection";
export { parseParameters, withoutSecrets, foreignHosts, type Parameters } from "./parameters";
export { Problem } from "./problem";
export { endingOf, placeInQueue, STAGES, stageMarks } from "./reasons";
export { phaseOf, type Phase, type ViewerState } from "./state";
export type { ViewerStats } from "./stats";
export type * from "./wire";
