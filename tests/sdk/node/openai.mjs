// The official client for Node. Every function is one way to use it, and returns all that the program was given.
import { connect } from "node:net";
import OpenAI, { AzureOpenAI, toFile } from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import { z } from "zod";
import { shown } from "./headers.mjs";

const ASK = { model: "m", messages: [{ role: "user", content: "What is my dog’s name?" }] };
const Dog = z.object({ name: z.string(), breed: z.string() });
const SOUND = Buffer.from(Array.from({ length: 256_000 }, (_, i) => i % 256));

function make(baseURL, defaultHeaders, options = {}) {
  return new OpenAI({ baseURL, apiKey: "sk-test", maxRetries: 0, defaultHeaders, ...options });
}

async function collect(parts) {
  const all = [];
  for await (const part of parts) all.push(part);
  return all;
}

export async function chat(baseURL, headers) {
  const { data, response, request_id } = await make(baseURL, headers).chat.completions.create(ASK).withResponse();
  return { data, request_id, id: data._request_id, status: response.status, headers: shown(response.headers) };
}

export async function raw(baseURL, headers) {
  const response = await make(baseURL, headers).chat.completions.create({ ...ASK, stream: true }).asResponse();
  return { headers: shown(response.headers), text: await response.text() };
}

export async function stream(baseURL, headers) {
  const options = { ...ASK, stream: true, stream_options: { include_usage: true } };
  return collect(await make(baseURL, headers).chat.completions.create(options));
}

export async function helper(baseURL, headers) {
  const runner = make(baseURL, headers).chat.completions.stream(ASK);
  const deltas = [];
  runner.on("content", (delta, snapshot) => deltas.push([delta, snapshot]));
  return { deltas, final: await runner.finalChatCompletion(), usage: await runner.totalUsage() };
}

export async function parse(baseURL, headers) {
  const options = { ...ASK, response_format: zodResponseFormat(Dog, "dog") };
  return (await make(baseURL, headers).chat.completions.parse(options)).choices[0].message.parsed;
}

export async function tools(baseURL, headers) {
  const weather = {
    type: "function",
    function: {
      name: "weather",
      parse: JSON.parse,
      parameters: { type: "object", properties: { city: { type: "string" } } },
      function: ({ city }) => `${city}: sunny, 24 °C`,
    },
  };
  const runner = make(baseURL, headers).chat.completions.runTools({ ...ASK, stream: true, tools: [weather] });
  return { final: await runner.finalContent(), messages: runner.messages };
}

export async function failure(baseURL, headers) {
  return make(baseURL, headers).chat.completions.create(ASK);
}

export async function retries(baseURL, headers) {
  return make(baseURL, headers, { maxRetries: 2 }).chat.completions.create(ASK);
}

export async function timeout(baseURL, headers) {
  return make(baseURL, headers, { timeout: 300 }).chat.completions.create({ ...ASK, stream: true });
}

export async function abort(baseURL, headers) {
  const parts = await make(baseURL, headers).chat.completions.create({ ...ASK, stream: true });
  for await (const part of parts) {
    parts.controller.abort();
    return part;
  }
}

export async function pages(baseURL, headers) {
  return collect(make(baseURL, headers).files.list({ limit: 2, purpose: "batch" }));
}

export async function upload(baseURL, headers) {
  const file = await toFile(SOUND, "grüße \"1\".mp3", { type: "audio/mpeg" });
  return make(baseURL, headers).audio.transcriptions.create({ file, model: "t", language: "de" });
}

export async function download(baseURL, headers) {
  const response = await make(baseURL, headers).files.content("f/1");
  return { headers: shown(response.headers), body: Buffer.from(await response.arrayBuffer()).toString("base64") };
}

export async function speech(baseURL, headers) {
  const response = await make(baseURL, headers).audio.speech.create({ model: "tts", voice: "alloy", input: "Grüße!" });
  const pieces = await collect(response.body);
  return Buffer.concat(pieces).toString("base64");
}

export async function embeddings(baseURL, headers) {
  return make(baseURL, headers).embeddings.create({ model: "e", input: ["Grüße", "x"] });
}

export async function responses(baseURL, headers) {
  const client = make(baseURL, headers);
  const parts = await collect(await client.responses.create({ model: "m", input: "Hi", stream: true }));
  const helped = client.responses.stream({ model: "m", input: "Hi" });
  return { parts, final: (await helped.finalResponse()).output[0].content[0].text };
}

export async function azure(baseURL, headers) {
  const options = { endpoint: baseURL, apiKey: "key", apiVersion: "2025-04-01-preview", defaultHeaders: headers };
  return new AzureOpenAI({ ...options, maxRetries: 0 }).chat.completions.create({ ...ASK, model: "gpt-4o" });
}

export async function defaults(baseURL, headers) {
  const options = { defaultQuery: { "api-version": "1", x: "a+b" }, organization: "org", project: "proj" };
  const client = make(baseURL, { ...headers, "X-App": "chat", "User-Agent": "mine/1" }, options);
  return (await client.models.list({ headers: { "X-More": "1" } })).data;
}

export async function realtime(baseURL, headers) {
  // The client always speaks TLS; this stands for the terminator that would be in front of the proxy.
  const options = { createConnection: ({ host, port }) => connect({ host, port }) };
  const socket = new OpenAIRealtimeWS({ model: "gpt-realtime", options }, make(baseURL, headers));
  const events = [];
  const closed = new Promise((resolve) => socket.socket.on("close", (code, why) => resolve([code, `${why}`])));
  socket.on("error", (error) => events.push(["error", error.message]));
  socket.on("session.created", () => socket.send({ type: "input_audio_buffer.append", audio: SOUND.toString("base64") }));
  socket.on("response.done", () => socket.send({ type: "response.cancel" }));
  socket.on("event", (event) => events.push(event));
  return { closed: await closed, events };
}
