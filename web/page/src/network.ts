/** Whether pictures will find a way to this browser, tried before a session is started. */

const GATHER_MS = 3000;

/** What the browser found with the servers that it was told. */
export interface Reach {
  readonly canConnect: boolean;
  /** Another host has seen us by UDP. */
  readonly isSeen: boolean;
  readonly isRelayed: boolean;
  readonly hasStun: boolean;
  readonly hasRelay: boolean;
  readonly relayOnly: boolean;
}

export interface Verdict {
  readonly dot: "on" | "wait" | "off";
  readonly words: string;
}

/** In words, with what to do. */
export function judge(reach: Reach): Verdict {
  if (!reach.canConnect) {
    return {
      dot: "wait",
      words: "This browser makes no WebRTC connections: pictures come by WebSocket, a little later.",
    };
  }
  if (reach.isRelayed) {
    return { dot: "on", words: "Pictures find a way: straight where there is one, else by the relay." };
  }
  if (reach.relayOnly) {
    return {
      dot: "off",
      words: "The relay that sessions here use does not answer. "
        + "Ask your network's administrator to let UDP out to it, or try another network.",
    };
  }
  if (reach.hasRelay) {
    return {
      dot: "wait",
      words: "The relay does not answer: if there is no straight way either, "
        + "pictures come by WebSocket, a little later.",
    };
  }
  if (reach.hasStun && !reach.isSeen) {
    return {
      dot: "wait",
      words: "No answer came by UDP from outside: on the machine's own network all is well, "
        + "elsewhere pictures come by WebSocket, a little later.",
    };
  }
  return { dot: "on", words: "Nothing stands in the way of pictures here." };
}

/** Look for paths with *servers*; takes three seconds at most. */
export async function tryNetwork(
  servers: readonly RTCIceServer[], policy: RTCIceTransportPolicy,
): Promise<Reach> {
  const urls = servers.flatMap((server) => server.urls);
  const base = {
    hasStun: urls.some((url) => url.startsWith("stun")),
    hasRelay: urls.some((url) => url.startsWith("turn")),
    relayOnly: policy === "relay",
  };
  if (typeof RTCPeerConnection === "undefined") {
    return { ...base, canConnect: false, isSeen: false, isRelayed: false };
  }
  const kinds = await gather(servers, policy, base.hasRelay ? "relay" : "srflx");
  const isRelayed = kinds.has("relay");
  return { ...base, canConnect: true, isSeen: isRelayed || kinds.has("srflx"), isRelayed };
}

/** The kinds of candidates that come in time; done early once *enough* has come. */
async function gather(
  servers: readonly RTCIceServer[], policy: RTCIceTransportPolicy, enough: string,
): Promise<Set<string>> {
  const pc = new RTCPeerConnection({ iceServers: [...servers], iceTransportPolicy: policy });
  const kinds = new Set<string>();
  try {
    await new Promise<void>((done, failed) => {
      const timer = setTimeout(done, GATHER_MS);
      pc.onicecandidate = ({ candidate }) => {
        if (candidate?.type) kinds.add(candidate.type);
        if (candidate === null || candidate.type === enough) {
          clearTimeout(timer);
          done();
        }
      };
      pc.createDataChannel("check");
      pc.createOffer().then((offer) => pc.setLocalDescription(offer)).catch(failed);
    });
  } catch {
    // A browser that gathers nothing has found nothing.
  } finally {
    pc.close();
  }
  return kinds;
}
