// Runs in every frame of a measured page before the page's own scripts. Finds the <video> or <canvas>
// that shows the test card's strip, reads the strip from every presented picture and keeps the
// figures in window.downstageProbe. It knows nothing of the product behind the page.
(() => {
  if (window.downstageProbe) return;
  const CELLS = 40;
  const SKEW = clockSkew();
  const wall = () => performance.timeOrigin + performance.now() + SKEW;
  const state = {
    selector: null, element: null, what: null, first: null,
    glass: [], ready: [], shownAt: [], unreadable: 0,
    presses: -1, pressSeenAt: 0, pressedAt: 0,
    peers: [], socketBytes: 0,
  };
  window.downstageProbe = state;

  const row = new OffscreenCanvas(CELLS, 1);
  const pen = row.getContext('2d', { willReadFrequently: true });
  pen.imageSmoothingEnabled = false;

  // performance.now() is finer than Date.now() and may be ahead of it: the largest difference is the truth.
  function clockSkew() {
    let best = -Infinity;
    for (let i = 0; i < 500; i++) best = Math.max(best, Date.now() - performance.timeOrigin - performance.now());
    return best;
  }

  // What a page can tell of its own stream, where it keeps these in the main thread.
  if (window.RTCPeerConnection) {
    window.RTCPeerConnection = new Proxy(RTCPeerConnection, {
      construct(target, given) { const peer = new target(...given); state.peers.push(peer); return peer; },
    });
  }
  if (window.WebSocket) {
    window.WebSocket = new Proxy(WebSocket, {
      construct(target, given) {
        const socket = new target(...given);
        socket.addEventListener('message', ({ data }) => {
          state.socketBytes += data.byteLength ?? data.size ?? data.length ?? 0;
        });
        return socket;
      },
    });
  }
  // When a canvas was last painted: "ready" for pages that draw themselves.
  for (const name of ['putImageData', 'drawImage']) {
    const original = CanvasRenderingContext2D.prototype[name];
    CanvasRenderingContext2D.prototype[name] = function (...given) {
      const result = original.apply(this, given);
      if (this.canvas instanceof HTMLCanvasElement) this.canvas.probePaintedAt = wall();
      return result;
    };
  }

  function readStrip(element) {
    const width = element.videoWidth ?? element.width;
    const height = element.videoHeight ?? element.height;
    if (!width || !height || width < 160) return null;
    try {
      pen.drawImage(element, 0, Math.max(1, Math.round(height / 60)), width, 1, 0, 0, CELLS, 1);
    } catch { return null; }
    const pixels = pen.getImageData(0, 0, CELLS, 1).data;
    let bits = '';
    for (let i = 0; i < CELLS; i++) bits += pixels[i * 4 + 1] > 127 ? '1' : '0';
    let check = 0b0110;
    for (let i = 4; i < 36; i += 4) check ^= parseInt(bits.slice(i, i + 4), 2);
    if (!bits.startsWith('1010') || parseInt(bits.slice(36), 2) !== check) return null;
    return { drawn: parseInt(bits.slice(4, 28), 2), presses: parseInt(bits.slice(28, 36), 2) };
  }

  // Milliseconds from the card's 24-bit clock to `when`.
  const since = (drawn, when) => (((Math.floor(when) & 0xffffff) - drawn + 0x1800000) & 0xffffff) - 0x800000;

  let lastDrawn = -1;
  function look(element, when, readyAt) {
    const strip = readStrip(element);
    if (!strip) { state.unreadable++; return false; }
    if (state.first === null) state.first = when - performance.timeOrigin - SKEW;
    if (strip.drawn !== lastDrawn) {
      lastDrawn = strip.drawn;
      state.shownAt.push(when);
      state.glass.push(since(strip.drawn, when));
      if (readyAt) state.ready.push(since(strip.drawn, readyAt));
    }
    if (strip.presses !== state.presses) { state.presses = strip.presses; state.pressSeenAt = when; }
    return true;
  }

  function* everyRoot(root) {
    yield root;
    for (const element of root.querySelectorAll('*')) if (element.shadowRoot) yield* everyRoot(element.shadowRoot);
  }
  function candidates() {
    const found = [];
    for (const root of everyRoot(document)) found.push(...root.querySelectorAll(state.selector ?? 'video,canvas'));
    return found.filter((element) => element.getClientRects().length);
  }

  // Asks for the next animation frame after the page did, so that the page paints first.
  const channel = new MessageChannel();
  let nextFrame = null;
  channel.port1.onmessage = () => requestAnimationFrame(nextFrame);

  function follow(element) {
    state.element = element;
    state.what = `${element.tagName.toLowerCase()} ${element.videoWidth ?? element.width}x${element.videoHeight ?? element.height}`;
    if (element.requestVideoFrameCallback) {
      const onFrame = (_now, meta) => {
        if (state.element !== element) return;
        look(element, wall(), performance.timeOrigin + SKEW + meta.presentationTime);
        element.requestVideoFrameCallback(onFrame);
      };
      element.requestVideoFrameCallback(onFrame);
    } else {
      nextFrame = () => {
        if (state.element !== element) return;
        look(element, wall(), element.probePaintedAt);
        channel.port2.postMessage(0);
      };
      nextFrame();
    }
  }
  function hunt() {
    for (const element of candidates()) if (look(element, wall())) { follow(element); return; }
    state.unreadable = 0;
    requestAnimationFrame(hunt);
  }
  // Pages change elements in mid-stream: follow the one that has news.
  let known = 0;
  setInterval(() => {
    if (!state.element || state.shownAt.length !== known) { known = state.shownAt.length; return; }
    for (const element of candidates()) {
      const strip = element !== state.element && readStrip(element);
      if (strip && strip.drawn !== lastDrawn) { follow(element); return; }
    }
  }, 250);
  addEventListener('DOMContentLoaded', hunt, { once: true });

  for (const kind of ['pointerdown', 'mousedown']) {
    addEventListener(kind, (event) => {
      if (!state.pressedAt) state.pressedAt = performance.timeOrigin + SKEW + event.timeStamp;
    }, { capture: true });
  }
  state.arm = () => { state.before = state.presses; state.pressedAt = 0; };
  state.answer = async (limit) => {
    for (const end = performance.now() + limit; performance.now() < end;) {
      if (state.pressedAt && state.presses !== state.before && state.pressSeenAt > state.pressedAt) {
        return state.pressSeenAt - state.pressedAt;
      }
      await new Promise((resolve) => setTimeout(resolve, 4));
    }
    return null;
  };
  state.middle = () => {
    const { left, top, width, height } = state.element.getBoundingClientRect();
    return [left + width / 2, top + height / 2];
  };
  state.begin = () => { state.glass = []; state.ready = []; state.shownAt = []; state.unreadable = 0; };
  state.stats = async () => {
    const sum = { decoded: 0, bytes: 0, jitterMs: 0, emitted: 0, decodeMs: 0, codec: null, socketBytes: state.socketBytes };
    for (const peer of state.peers) {
      try {
        (await peer.getStats()).forEach((item) => {
          if (item.type === 'codec' && item.mimeType.startsWith('video')) sum.codec = item.mimeType;
          if (item.type !== 'inbound-rtp' || item.kind !== 'video') return;
          sum.decoded += item.framesDecoded ?? 0;
          sum.bytes += item.bytesReceived ?? 0;
          sum.jitterMs += (item.jitterBufferDelay ?? 0) * 1000;
          sum.emitted += item.jitterBufferEmittedCount ?? 0;
          sum.decodeMs += (item.totalDecodeTime ?? 0) * 1000;
        });
      } catch { /* a closed peer has no figures */ }
    }
    return sum;
  };
})();
