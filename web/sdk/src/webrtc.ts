/** The picture over WebRTC: one peer connection, answering the streamer's offers. */

import type { InputMessage } from "./messages";
import { keepStereo, pinCandidate } from "./sdp";
import type { CandidateMessage, Outgoing } from "./signalling";
import { Latency, wallMs, type RawStats } from "./stats";
import { parseControl, pictureBox, type Transport, type TransportHooks } from "./transport";

/** A path that is silent for this long is treated as broken. */
const SILENT_MS = 1500;

export interface WebRtcOptions {
  readonly send: (message: Outgoing) => void;
  /** Outside address of the media port, where the URL names one. */
  readonly pin: { readonly host: string; readonly port: number } | null;
}

/** Whether this browser can receive one of the streamer's codecs over WebRTC. */
export function canWebRtc(): boolean {
  if (typeof RTCPeerConnection === "undefined") return false;
  const codecs = RTCRtpReceiver.getCapabilities?.("video")?.codecs;
  return codecs === undefined || codecs.some((codec) => /h264|vp8/i.test(codec.mimeType));
}

export class WebRtcTransport implements Transport {
  readonly kind = "webrtc" as const;
  readonly picture: HTMLElement;
  readonly #video = document.createElement("video");
  readonly #audio = document.createElement("audio");
  readonly #pc: RTCPeerConnection;
  readonly #hooks: TransportHooks;
  readonly #options: WebRtcOptions;
  readonly #channels = new Map<string, RTCDataChannel>();
  readonly #early: CandidateMessage[] = [];
  readonly #glass = new Latency();
  #work: Promise<void> = Promise.resolve();
  #hasPicture = false;
  #isClosed = false;
  #isBroken = false;
  #silence: ReturnType<typeof setTimeout> | undefined;
  #muted = false;
  #remoteSdp: string | null = null;

  constructor(hooks: TransportHooks, options: WebRtcOptions) {
    this.#hooks = hooks;
    this.#options = options;
    this.#video.muted = this.#video.autoplay = this.#video.playsInline = true;
    this.#video.disablePictureInPicture = true;
    this.#video.setAttribute("part", "video");
    this.#video.addEventListener("resize", () => {
      const { videoWidth: width, videoHeight: height } = this.#video;
      if (!this.#isClosed) hooks.resized({ width, height });
    });
    this.#audio.autoplay = true;
    this.picture = pictureBox(this.#video);
    this.picture.append(this.#audio);
    this.#pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.#pc.ontrack = (event) => {
      this.#onTrack(event);
    };
    this.#pc.ondatachannel = (event) => {
      this.#onChannel(event.channel);
    };
    this.#pc.onicecandidate = (event) => {
      this.#onLocalCandidate(event.candidate);
    };
    this.#pc.onconnectionstatechange = () => {
      this.#onConnection();
    };
  }

  /** Media flows, though nothing may have been drawn yet (a hidden page draws nothing). */
  get isConnected(): boolean {
    return this.#pc.connectionState === "connected";
  }

  /** The offer answered last, also while its answer is still being made. */
  get remoteSdp(): string | null {
    return this.#remoteSdp;
  }

  get audioStream(): MediaStream | null {
    return this.#audio.srcObject as MediaStream | null;
  }

  setIceServers(servers: readonly RTCIceServer[], policy: RTCIceTransportPolicy = "all"): void {
    if (servers.length === 0 || this.#isClosed) return;
    this.#pc.setConfiguration({
      bundlePolicy: "max-bundle", iceServers: [...servers], iceTransportPolicy: policy,
    });
  }

  /** Answer *sdp*: the first offer, or one with an ICE restart. */
  accept(sdp: string): void {
    this.#remoteSdp = sdp;
    this.#queue(async () => {
      await this.#pc.setRemoteDescription({ type: "offer", sdp });
      const answer = await this.#pc.createAnswer();
      const local = keepStereo(sdp, answer.sdp ?? "");
      await this.#pc.setLocalDescription({ type: "answer", sdp: local });
      this.#options.send({ type: "answer", sdp: local });
      for (const early of this.#early.splice(0)) await this.#addCandidate(early);
    });
  }

  candidate(message: CandidateMessage): void {
    this.#queue(async () => {
      if (this.#pc.remoteDescription === null) this.#early.push(message);
      else await this.#addCandidate(message);
    });
  }

  send(message: InputMessage): void {
    const loose = message[0] === "m" || message[0] === "r";
    const channel = (loose ? this.#open("pointer") : null) ?? this.#open("input");
    channel?.send(JSON.stringify(message));
  }

  openChannel(name: string): RTCDataChannel | null {
    if (this.#isClosed || !this.isConnected) return null;
    const channel = this.#pc.createDataChannel(name);
    channel.binaryType = "arraybuffer";
    return channel;
  }

  setMuted(muted: boolean): void {
    this.#muted = muted;
    this.#audio.muted = muted;
    this.#playAudio();
  }

  gesture(): void {
    if (this.#audio.paused) this.#playAudio();
  }

  async stats(): Promise<RawStats> {
    this.#sampleGlass();
    const all = await this.#pc.getStats();
    let video: Record<string, unknown> = {};
    let bytes = 0;
    let rttMs: number | null = null;
    all.forEach((entry: Record<string, unknown>) => {
      if (entry["type"] === "inbound-rtp") bytes += number(entry["bytesReceived"]);
      if (entry["type"] === "inbound-rtp" && entry["kind"] === "video") video = entry;
      if (entry["type"] === "candidate-pair" && entry["nominated"] === true) {
        const rtt = entry["currentRoundTripTime"];
        if (typeof rtt === "number") rttMs = Math.round(rtt * 10_000) / 10;
      }
    });
    const emitted = number(video["jitterBufferEmittedCount"]);
    const waited = number(video["jitterBufferDelay"]);
    return {
      decodedFrames: number(video["framesDecoded"]),
      droppedFrames: number(video["framesDropped"]),
      bytes,
      packets: number(video["packetsReceived"]),
      packetsLost: number(video["packetsLost"]),
      rttMs,
      width: number(video["frameWidth"]) || this.#video.videoWidth,
      height: number(video["frameHeight"]) || this.#video.videoHeight,
      decoder: (video["decoderImplementation"] as string | undefined) ?? null,
      glassMs: this.#glass.p50,
      jitterMs: emitted > 0 ? Math.round((waited / emitted) * 10_000) / 10 : null,
    };
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#silence);
    this.#keepPicture();
    this.#pc.onconnectionstatechange = null;
    this.#pc.close();
    this.#audio.pause();
  }

  /** A video whose track has ended goes black: leave a copy of its last picture instead. */
  #keepPicture(): void {
    const { videoWidth, videoHeight } = this.#video;
    if (!this.#hasPicture || !this.picture.isConnected || videoWidth === 0) return;
    const still = document.createElement("canvas");
    [still.width, still.height] = [videoWidth, videoHeight];
    still.getContext("2d", { alpha: false })?.drawImage(this.#video, 0, 0);
    this.#video.replaceWith(still);
  }

  #queue(step: () => Promise<void>): void {
    this.#work = this.#work.then(step).catch((error: unknown) => {
      if (this.#isClosed) return;
      console.warn("downstage: negotiation failed:", String(error));
      this.#hooks.broken("The connection could not be made", true);
    });
  }

  #onTrack(event: RTCTrackEvent): void {
    const receiver = event.receiver as RTCRtpReceiver & {
      jitterBufferTarget?: number | null;
      playoutDelayHint?: number;
    };
    if (event.track.kind === "audio") {
      this.#audio.srcObject = new MediaStream([event.track]);
      this.#playAudio();
      return;
    }
    if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
    if ("playoutDelayHint" in receiver) receiver.playoutDelayHint = 0;
    const seen = (): void => {
      if (this.#hasPicture || this.#isClosed) return;
      this.#hasPicture = true;
      this.#hooks.firstPicture();
    };
    this.#video.requestVideoFrameCallback?.(seen);
    this.#video.addEventListener("loadeddata", seen, { once: true });
    this.#video.srcObject = new MediaStream([event.track]);
    this.#video.play().catch(() => undefined);
  }

  #onChannel(channel: RTCDataChannel): void {
    this.#channels.set(channel.label, channel);
    channel.onmessage = (event: MessageEvent<unknown>) => {
      const message = parseControl(event.data);
      if (message) this.#hooks.control(message);
    };
    if (channel.label !== "input") return;
    channel.onclose = () => {
      if (!this.#isClosed) this.#hooks.broken("The machine closed the connection", true);
    };
    if (channel.readyState === "open") this.#hooks.ready();
    else channel.onopen = () => {
      this.#hooks.ready();
    };
  }

  #onLocalCandidate(candidate: RTCIceCandidate | null): void {
    this.#options.send({
      type: "candidate",
      candidate: candidate === null || candidate.candidate === "" ? null : candidate.candidate,
      sdp_mid: candidate?.sdpMid ?? null,
      sdp_mline_index: candidate?.sdpMLineIndex ?? null,
    });
  }

  #onConnection(): void {
    clearTimeout(this.#silence);
    const state = this.#pc.connectionState;
    if (state === "connected" && this.#isBroken) {
      this.#isBroken = false;
      this.#hooks.recovered();
    } else if (state === "failed") {
      this.#break("The network path failed");
    } else if (state === "disconnected") {
      this.#silence = setTimeout(() => {
        this.#break("The network path is silent");
      }, SILENT_MS);
    }
  }

  #break(reason: string): void {
    if (this.#isBroken) return;
    this.#isBroken = true;
    this.#hooks.broken(reason, false);
  }

  async #addCandidate(message: CandidateMessage): Promise<void> {
    const place = {
      sdpMid: message.sdp_mid ?? null,
      sdpMLineIndex: message.sdp_mline_index ?? (message.sdp_mid == null ? 0 : null),
    };
    const lines = [message.candidate ?? ""];
    const { pin } = this.#options;
    const pinned = pin && message.candidate && pinCandidate(message.candidate, pin.host, pin.port);
    if (pinned) lines.push(pinned);
    for (const candidate of lines) {
      // One candidate that a browser cannot read must not cost the connection.
      await this.#pc.addIceCandidate({ candidate, ...place }).catch((error: unknown) => {
        console.info("downstage: candidate not used:", String(error));
      });
    }
  }

  #open(label: string): RTCDataChannel | null {
    const channel = this.#channels.get(label);
    return channel?.readyState === "open" ? channel : null;
  }

  #playAudio(): void {
    if (this.#audio.srcObject === null) return;
    this.#audio.play().then(
      () => {
        this.#hooks.sound(this.#muted ? "muted" : "on");
      },
      () => {
        if (!this.#isClosed) this.#hooks.sound("blocked");
      },
    );
  }

  #sampleGlass(): void {
    this.#video.requestVideoFrameCallback?.((_, metadata) => {
      const captured = (metadata as { captureTime?: number }).captureTime;
      if (captured !== undefined) this.#glass.add(wallMs() - performance.timeOrigin - captured);
    });
  }
}

function number(value: unknown): number {
  return typeof value === "number" ? value : 0;
}
