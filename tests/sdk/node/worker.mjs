// Runs what tests/sdk/test_node.py asks for: one JSON object a line on stdin, one on stdout.
import { File } from "node:buffer";
import { createInterface } from "node:readline";
import { shown } from "./headers.mjs";
import * as openai from "./openai.mjs";
import * as vercel from "./vercel.mjs";

globalThis.File ??= File; // Debian 12's Node has it under this name only

const CLIENTS = { openai, vercel };

function described(error) {
  const headers = error.headers ?? error.responseHeaders;
  return {
    failed: error.constructor.name,
    message: error.message,
    status: error.status ?? error.statusCode ?? null,
    code: error.code ?? null,
    body: error.error ?? error.responseBody ?? null,
    requestID: error.requestID ?? null,
    retryable: error.isRetryable ?? null,
    reason: error.reason ?? null,
    last: error.lastError ? described(error.lastError) : null,
    headers: headers instanceof Headers ? shown(headers) : headers ? shown(Object.entries(headers)) : null,
  };
}

async function run({ client, steps, baseURL, headers }) {
  try {
    return await CLIENTS[client][steps](baseURL, headers);
  } catch (error) {
    return described(error);
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify((await run(JSON.parse(line))) ?? null) + "\n");
}
