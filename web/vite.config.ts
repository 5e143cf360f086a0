import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** One bundle, no inlined assets: the page runs under a policy without inline scripts. */
export default defineConfig({
  root: here("page"),
  base: "/",
  resolve: {
    alias: {
      "@downstage/viewer/core": here("sdk/src/core.ts"),
      "@downstage/viewer": here("sdk/src/index.ts"),
    },
  },
  build: {
    outDir: here("../src/downstage/gateway/static"),
    emptyOutDir: true,
    target: ["chrome110", "firefox115", "safari16.4"],
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
    chunkSizeWarningLimit: 600, // three: loaded with the first cloud of points, by nobody else
  },
  server: { host: "127.0.0.1", strictPort: false },
  test: {
    root: here("."),
    include: ["sdk/test/**/*.test.ts", "page/test/**/*.test.ts"],
    environment: "node",
  },
});
