/** Thrown where this machine cannot have what the test needs: the run is skipped, which is not passed. */
export class Skipped extends Error {}

/** As automake's tests say it: neither 0 nor a failure's 1. */
export const SKIPPED_CODE = 77;
