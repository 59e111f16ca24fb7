/** The ways that everybody goes: a proxy on each, so that one of them can be in trouble and the others not. */
import { API, BrokerProxy } from "../kafka/proxy.js";
import type { Route } from "./trouble.js";

export class ProxiedRoute implements Route {
  private constructor(
    readonly name: string,
    readonly proxy: BrokerProxy,
    readonly reads: "kafka" | "bytes",
  ) {}

  static async open(name: string, to_port: number, reads: "kafka" | "bytes"): Promise<ProxiedRoute> {
    return new ProxiedRoute(name, await BrokerProxy.listen(0, to_port, { reads }), reads);
  }

  get port(): number {
    return this.proxy.port;
  }

  reset(): void {
    this.proxy.reset();
  }

  cut(direction: "requests" | "responses"): void {
    this.proxy.cut(direction === "requests" ? "to_broker" : "to_client");
  }

  drop_responses({ reset }: { reset: boolean }): void {
    // Of bytes nobody knows where a response ends: its connection goes with it.
    if (this.reads === "bytes") this.proxy.drop_responses(() => true, true);
    else this.proxy.drop_responses(({ api }) => api === API.produce, reset);
  }

  heal(): void {
    this.proxy.heal();
    // A stream of bytes that lost a piece must not go on.
    if (this.reads === "bytes") this.proxy.reset();
  }
}
