/** Points in space: rows of x, y, z, and colours where they have some. */

import type { BufferGeometry, PerspectiveCamera, Points, Scene, WebGLRenderer } from "three";
import type { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
import type { Entry } from "../entries";
import { figuresOf } from "../kinds";
import type { Figures } from "../npy";
import { box, type Setting, type View } from "./view";

type Three = typeof import("./space");

interface Stage {
  readonly three: Three;
  readonly renderer: WebGLRenderer;
  readonly scene: Scene;
  readonly camera: PerspectiveCamera;
  readonly controls: OrbitControls;
  readonly geometry: BufferGeometry;
  readonly points: Points;
}

const MOST = 2_000_000;

export class PointsView implements View {
  readonly element = box("points");
  readonly #setting: Setting;
  readonly #size: ResizeObserver;
  #stage: Stage | null = null;
  #next: Entry | null = null;
  #count = 0;
  #isFramed = false;
  #isStale = true;
  #isOver = false;

  constructor(setting: Setting) {
    this.#setting = setting;
    this.#size = new ResizeObserver(() => {
      this.#fit();
    });
    this.#begin().catch(() => {
      setting.trouble("This browser draws nothing in space (no WebGL). Use another one, or show a plot.");
    });
  }

  get words(): string {
    return this.#count === 0 ? "" : `${this.#count.toLocaleString()} points`;
  }

  take(entries: readonly Entry[]): void {
    this.#next = entries.at(-1) ?? this.#next;
  }

  tick(): void {
    const stage = this.#stage;
    if (stage === null) return;
    if (this.#next !== null) {
      this.#show(stage, this.#next);
      this.#next = null;
    }
    if (stage.controls.update() || this.#isStale) {
      stage.renderer.render(stage.scene, stage.camera);
      this.#isStale = false;
    }
  }

  reset(): void {
    this.#next = null;
  }

  stop(): void {
    this.#isOver = true;
    this.#size.disconnect();
    this.#stage?.controls.dispose();
    this.#stage?.geometry.dispose();
    this.#stage?.renderer.dispose();
    this.#stage = null;
  }

  async #begin(): Promise<void> {
    const three = await import("./space");
    if (this.#isOver) return;
    const renderer = new three.WebGLRenderer({ antialias: true, alpha: true });
    renderer.outputColorSpace = three.LinearSRGBColorSpace; // colours are shown as they were sent
    renderer.setPixelRatio(Math.min(2, devicePixelRatio));
    const canvas = renderer.domElement;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Points of ${this.#setting.about.name}`);
    const scene = new three.Scene(), camera = new three.PerspectiveCamera(50, 1, 0.01, 1000);
    camera.up.set(0, 0, 1);
    const geometry = new three.BufferGeometry();
    const points = new three.Points(geometry, new three.PointsMaterial({
      size: 2, sizeAttenuation: false, vertexColors: true,
    }));
    points.frustumCulled = false;
    scene.add(points);
    const controls = new three.OrbitControls(camera, canvas);
    controls.listenToKeyEvents(canvas);
    canvas.tabIndex = 0;
    this.element.append(canvas);
    this.#stage = { three, renderer, scene, camera, controls, geometry, points };
    this.#size.observe(this.element);
    this.#fit();
  }

  #fit(): void {
    const stage = this.#stage, { clientWidth: width, clientHeight: height } = this.element;
    if (stage === null || width === 0 || height === 0) return;
    stage.renderer.setSize(width, height);
    stage.camera.aspect = width / height;
    stage.camera.updateProjectionMatrix();
    this.#isStale = true;
  }

  #show(stage: Stage, entry: Entry): void {
    const figures = figuresOf(this.#setting.about, entry.data);
    const cloud = figures === null ? null : cloudOf(figures);
    if (cloud === null) {
      this.#setting.trouble("This entry holds no points: send rows of x, y, z, with colours or without.");
      return;
    }
    this.#setting.trouble("");
    const { three, geometry } = stage;
    this.#count = cloud.positions.length / 3;
    geometry.setAttribute("position", new three.BufferAttribute(cloud.positions, 3));
    geometry.setAttribute("color", new three.BufferAttribute(cloud.colours, 3));
    this.#isStale = true;
    this.element.dataset["points"] = String(this.#count);
    if (!this.#isFramed && this.#count > 0) this.#frame(stage);
  }

  /** Stand where all points can be seen. */
  #frame({ three, geometry, camera, controls }: Stage): void {
    geometry.computeBoundingSphere();
    const sphere = geometry.boundingSphere;
    if (sphere === null || !Number.isFinite(sphere.radius)) return;
    const radius = Math.max(sphere.radius, 1e-3);
    controls.target.copy(sphere.center);
    camera.position.copy(sphere.center).add(new three.Vector3(-1, -1.4, 0.9).normalize().multiplyScalar(radius * 2.7));
    camera.near = radius / 1000;
    camera.far = radius * 100;
    camera.updateProjectionMatrix();
    this.#isFramed = true;
  }
}

/** Places and colours, three numbers a point; null where *figures* are no points. Colours are told
 * from 0 to 1, or to 255; without any, height is shown. */
export function cloudOf({ shape, data }: Figures): Cloud | null {
  const columns = shape.length === 1 ? 3 : (shape.at(-1) ?? 0);
  if (columns < 3 || data.length < columns) return null;
  const count = Math.min(MOST, Math.floor(data.length / columns));
  const positions = three(data, columns, 0, count);
  if (columns < 6) return { positions, colours: shade(positions) };
  const colours = three(data, columns, 3, count);
  if (colours.some((colour) => colour > 1)) colours.forEach((colour, at) => (colours[at] = colour / 255));
  return { positions, colours };
}

interface Cloud {
  readonly positions: Float32Array;
  readonly colours: Float32Array;
}

/** Three numbers of each row, from the column *from* on. */
function three(data: ArrayLike<number>, columns: number, from: number, count: number): Float32Array {
  const found = new Float32Array(count * 3);
  for (let row = 0; row < count; row += 1) {
    for (let axis = 0; axis < 3; axis += 1) found[row * 3 + axis] = Number(data[row * columns + from + axis]);
  }
  return found;
}

/** From blue, which is low, to amber. */
function shade(positions: Float32Array): Float32Array {
  let low = Infinity, high = -Infinity;
  for (let at = 2; at < positions.length; at += 3) {
    low = Math.min(low, positions[at] ?? low);
    high = Math.max(high, positions[at] ?? high);
  }
  const colours = new Float32Array(positions.length);
  for (let at = 0; at < positions.length; at += 3) {
    const share = high > low ? ((positions[at + 2] ?? low) - low) / (high - low) : 0.5;
    colours[at] = 0.25 + 0.7 * share;
    colours[at + 1] = 0.5 + 0.2 * share;
    colours[at + 2] = 0.95 - 0.65 * share;
  }
  return colours;
}
