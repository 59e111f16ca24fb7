/** What a server counts, as it shows it to Prometheus. */

export interface ServerCounts {
  events: number;
  hosts: number;
  records_quarantined: number;
  anomalies: number;
  core_memory_bytes: number;
}

export async function counts_of(url: string): Promise<ServerCounts> {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  const value = (name: string) => Number(new RegExp(`^${name} (.*)$`, "m").exec(metrics)?.[1]);
  const anomalies = [...metrics.matchAll(/^klpstate_anomalies_total\{.*\} (.*)$/gm)];
  return {
    events: value("klpstate_events_total"),
    hosts: value("klpstate_hosts"),
    records_quarantined: value("klpstate_records_quarantined_total"),
    anomalies: anomalies.reduce((sum, [, count]) => sum + Number(count), 0),
    core_memory_bytes: value("klpstate_core_memory_bytes"),
  };
}

/** Before a time is believed: nothing was lost, refused or odd. */
export async function must_have_stored(url: string, events: number, hosts: number): Promise<void> {
  const counts = await counts_of(url);
  const { records_quarantined, anomalies } = counts;
  if (counts.events !== events || counts.hosts !== hosts || records_quarantined > 0 || anomalies > 0) {
    const has = JSON.stringify(counts);
    throw new Error(`the server has not what was sent, ${events} events of ${hosts} hosts: ${has}`);
  }
}
