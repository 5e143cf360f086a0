/**
 * The first thing that the page does: ask for the seat, before the rest of the bundle has run.
 * Everything else of the start (drawing, keys of the peer connection) happens while that travels.
 */

import { Api, parseParameters } from "@downstage/viewer/core";
import { readToken } from "./token";

export const url = new URL(location.href);
export const parameters = parseParameters(url);
export const api = new Api(location.origin, readToken);

const { session, code, autolaunch } = parameters;

/** The answer to come; null where nothing was asked. */
export const seat =
  session === null || !autolaunch
    ? null
    : code === null ? api.seat(session) : api.takeSeat(session, code);

// Whoever shows the session hears of a refusal too; nobody else has to.
seat?.catch(() => undefined);
