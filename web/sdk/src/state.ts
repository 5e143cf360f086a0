/** What a person is shown, as one value made from all that is known. */

import type { Problem } from "./problem";
import type { Sound, TransportKind } from "./transport";
import { isLive, isOver, type Role, type SessionView, type StreamInfo } from "./wire";

export type Phase =
  | "idle"
  | "joining"
  | "waiting"
  | "connecting"
  | "playing"
  | "reconnecting"
  | "ended"
  | "refused";

export interface Facts {
  readonly isStarted: boolean;
  /** Final: nothing is tried any more. */
  readonly problem: Problem | null;
  readonly session: SessionView | null;
  /** The seat is gone and the session with it. */
  readonly isGone: boolean;
  readonly hasPicture: boolean;
  readonly hadPicture: boolean;
}

export function phaseOf(facts: Facts): Phase {
  const { session } = facts;
  if (!facts.isStarted) return "idle";
  if (facts.isGone || (session && isOver(session.state))) return "ended";
  if (facts.problem) return "refused";
  if (facts.hasPicture) return "playing";
  if (facts.hadPicture) return "reconnecting";
  if (!session) return "joining";
  return isLive(session.state) ? "connecting" : "waiting";
}

export interface ViewerState {
  readonly phase: Phase;
  readonly session: SessionView | null;
  readonly role: Role;
  readonly transport: TransportKind | null;
  readonly stream: StreamInfo | null;
  readonly sound: Sound;
  readonly problem: Problem | null;
  /** When this phase began, by `performance.now()`. */
  readonly since: number;
  /** What is going wrong at the moment, when something is. */
  readonly trouble: string | null;
  /** Why the picture comes another way than the one that was tried first, for as long as it does. */
  readonly transportReason: string | null;
}
