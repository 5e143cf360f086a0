/** As much of three as points need: one piece, loaded with the first of them. */

export {
  BufferAttribute, BufferGeometry, LinearSRGBColorSpace, PerspectiveCamera, Points, PointsMaterial, Scene,
  Vector3, WebGLRenderer,
} from "three";
export { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
