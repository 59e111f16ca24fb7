/** `klpstate partition`: what is done to one partition of a node. */
import { type Command, InvalidArgumentError } from "commander";
import { ask_document } from "./ask.js";
import { type AskOptions, ask_and_end, type Session, with_ask_options, with_examples } from "./command.js";
import { plain } from "./render/text.js";

interface Reset {
  partition: number;
  aside: string;
}

export function add_partition_commands(program: Command, session: Session): void {
  const partition = program.command("partition").description("partitions of a node whose log is in Kafka");
  const reset = partition
    .command("reset")
    .description(
      "go on with a broken partition: move this node's replica aside, fold the topic from its earliest record",
    )
    .argument("<number>", "the partition", parse_partition)
    .action((number: number, options: AskOptions) =>
      ask_and_end(session, options, false, async ({ door, say, say_json }) => {
        const path = `/v1/partitions/${number}/reset`;
        const answer = await ask_document<Reset>(door, { method: "POST", path });
        if (options.json) await say_json(answer);
        else {
          await say(
            `partition ${answer.partition} begins again at its topic's earliest record\n` +
              `what was here is in ${plain(answer.aside)}, on the node\n`,
          );
        }
        return 0;
      }),
    );
  with_examples(
    with_ask_options(reset),
    ["partition reset 3", "partition reset 3 --server http://node-2:7350"],
    `
What the topic does not have any more is in no answer from then on; hosts whose beginning is gone are no_baseline.
GET /readyz of a node names its broken partitions and why. Each node has a replica of its own to reset.

Exit codes:
  0  it begins again
  2  it is not kept there, it is not broken, or the node could not be asked
`,
  );
}

function parse_partition(text: string): number {
  if (/^[0-9]{1,6}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It is not a partition's number.");
}
