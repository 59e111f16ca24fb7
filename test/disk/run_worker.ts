/** Lives the lives of the seeds that the main thread sends, one after the other. */
import { parentPort } from "node:worker_threads";
import { type LifeReport, live } from "./life.js";

/** What became of a seed. */
export type Lived = { seed: number } & ({ report: LifeReport } | { failure: string });

parentPort!.on("message", async (seed: number) => {
  let lived: Lived;
  try {
    lived = { seed, report: await live(seed) };
  } catch (error) {
    lived = { seed, failure: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  parentPort!.postMessage(lived);
});
