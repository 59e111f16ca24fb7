/** Apache Kafka from Maven Central, kept outside of the repository; and Java's programs on it. */
import { execFileSync, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";

const SLF4J = "1.7.36";

/** The version that this run tests. */
export const KAFKA_VERSION = process.env.KLPSTATE_TEST_KAFKA ?? "4.4.0";

/** The directory of the broker's jars of the version. */
export function jars_of(version: string): string {
  return jars_in(`kafka-${version}`, "kafka_2.13", version);
}

/**
 * The directory `name` of the cache, with the jars of org.apache.kafka's artifact; fetches them where they are not there
 * yet, which takes some ten seconds.
 */
export function jars_in(name: string, artifact: string, version: string): string {
  const cache = process.env.KAFKA_CACHE ?? join(homedir(), ".cache");
  const directory = join(cache, name);
  const complete = join(directory, ".complete");
  if (existsSync(complete)) return directory;
  console.error(`fetching ${artifact} ${version}`);
  mkdirSync(directory, { recursive: true });
  // Somebody else may be fetching the same: files are put in place whole, and are the same from either.
  const fetched = mkdtempSync(join(cache, `${name}-`));
  try {
    const pom = join(fetched, "pom.xml");
    writeFileSync(pom, pom_of(artifact, version));
    const goal = ["dependency:copy-dependencies", `-DoutputDirectory=${fetched}`, "-DincludeScope=runtime"];
    execFileSync("mvn", ["-q", "-B", "-f", pom, ...goal], { stdio: ["ignore", "inherit", "inherit"] });
    cpSync(fetched, directory, { recursive: true });
    writeFileSync(complete, "");
  } finally {
    rmSync(fetched, { recursive: true });
  }
  return directory;
}

export function class_path(version: string): string {
  return `${jars_of(version)}/*`;
}

/**
 * Runs test/kafka/java/NAME.java, gives it `input`, perhaps bit by bit, and returns its lines. Throws what it says where
 * it fails.
 */
export async function run_java(
  name: string,
  args: string[],
  input: string | AsyncIterable<string> = "",
  version = KAFKA_VERSION,
): Promise<string[]> {
  const program = join(import.meta.dirname, "java", `${name}.java`);
  const options = ["-Xmx512m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"];
  const child = spawn("java", [...options, "-cp", class_path(version), program, ...args]);
  child.stdin.on("error", () => {});
  Readable.from(typeof input === "string" ? [input] : input).pipe(child.stdin);
  const ended = new Promise<number | null>((resolve, reject) =>
    child.once("error", reject).once("close", resolve),
  );
  const [output, errors, code] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  if (code !== 0) throw new Error(`${name}.java ended with ${code}: ${errors}${output}`);
  return output.split("\n").filter((line) => line !== "");
}

function pom_of(artifact: string, version: string): string {
  return `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>local</groupId><artifactId>jars</artifactId><version>1</version><packaging>pom</packaging><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>${artifact}</artifactId><version>${version}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>${SLF4J}</version></dependency>
</dependencies></project>
`;
}
