import { defineConfig } from "vitest/config";
import base from "../../vitest.config.js";

// These need a compiler, so they are no part of `npm test`.
export default defineConfig({ test: { ...base.test, include: ["test/toolchain/*.toolchain.ts"] } });
