// The Vercel AI SDK with its OpenAI provider. Every function is one way to use it, and returns what the program gets.
import { createOpenAI } from "@ai-sdk/openai";
import { embedMany, experimental_generateSpeech as generateSpeech, experimental_transcribe as transcribe } from "ai";
import { generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

globalThis.AI_SDK_LOG_WARNINGS = false;

const ASK = { messages: [{ role: "user", content: "What is my dog’s name?" }], maxRetries: 0 };
const Dog = z.object({ name: z.string(), breed: z.string() });
const SOUND = Buffer.from(Array.from({ length: 256_000 }, (_, i) => i % 256));
const TOOLS = {
  weather: tool({ inputSchema: z.object({ city: z.string() }), execute: async ({ city }) => `${city}: sunny, 24 °C` }),
};

function provide(baseURL, headers) {
  return createOpenAI({ baseURL, apiKey: "sk-test", headers });
}

export async function chat(baseURL, headers) {
  const { text, usage, finishReason } = await generateText({ ...ASK, model: provide(baseURL, headers).chat("m") });
  return { text, usage, finishReason };
}

export async function stream(baseURL, headers) {
  const result = streamText({ ...ASK, model: provide(baseURL, headers).chat("m") });
  const parts = [];
  for await (const part of result.fullStream) parts.push([part.type, part.text ?? part.finishReason ?? null]);
  return { parts, text: await result.text, usage: await result.usage };
}

export async function tools(baseURL, headers) {
  const model = provide(baseURL, headers).chat("m");
  const result = streamText({ ...ASK, model, tools: TOOLS, stopWhen: stepCountIs(2) });
  return { text: await result.text, steps: (await result.steps).map((step) => step.content) };
}

export async function object(baseURL, headers) {
  const model = provide(baseURL, headers).chat("m");
  return (await generateText({ ...ASK, model, output: Output.object({ schema: Dog }) })).output;
}

export async function responses(baseURL, headers) {
  const result = streamText({ ...ASK, model: provide(baseURL, headers).responses("m") });
  const pieces = [];
  for await (const piece of result.textStream) pieces.push(piece);
  return pieces;
}

export async function failure(baseURL, headers) {
  return generateText({ ...ASK, model: provide(baseURL, headers).chat("m") });
}

export async function retries(baseURL, headers) {
  return (await generateText({ ...ASK, maxRetries: 2, model: provide(baseURL, headers).chat("m") })).text;
}

export async function embeddings(baseURL, headers) {
  const model = provide(baseURL, headers).textEmbeddingModel("e");
  return (await embedMany({ model, values: ["Grüße", "x"], maxRetries: 0 })).embeddings;
}

export async function speech(baseURL, headers) {
  const model = provide(baseURL, headers).speech("tts");
  const { audio } = await generateSpeech({ model, text: "Grüße!", maxRetries: 0 });
  return audio.base64;
}

export async function upload(baseURL, headers) {
  const model = provide(baseURL, headers).transcription("whisper-1");
  return (await transcribe({ model, audio: SOUND, maxRetries: 0 })).text;
}
