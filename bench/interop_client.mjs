// `node interop_client.mjs ARTIFACT POOLING TEXTS VECTORS`: what transformers.js makes of an artifact. JSON in and out.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname } from "node:path";
import { pathToFileURL } from "node:url";

const library = createRequire(process.cwd() + "/").resolve("@huggingface/transformers");
const { pipeline, env } = await import(pathToFileURL(library));
const [artifact, pooling, source, target] = process.argv.slice(2);
env.allowRemoteModels = false;
env.localModelPath = dirname(artifact);
const options = { dtype: "fp32", use_external_data_format: true };
const extract = await pipeline("feature-extraction", basename(artifact), options);
const rows = [];
for (const text of JSON.parse(readFileSync(source, "utf8"))) {
  const found = await extract(text, { pooling, normalize: true });
  rows.push(Array.from(found.data));
}
writeFileSync(target, JSON.stringify(rows));
