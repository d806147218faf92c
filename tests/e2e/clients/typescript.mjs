// Runs the steps with one of the official TypeScript SDKs: 1.32 (legacy) or 2.4 (legacy, auto, modern), over
// Streamable HTTP, SSE or WebSocket.
//
//     node typescript.mjs --list KIND
//     node typescript.mjs                 a JSON line on stdin: {kind, url, modules, scenarios}
//
// Writes one JSON line a step: {name, why}. Each step has a client of its own.

import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { STEPS, within } from './steps.mjs';

const MODERN = '2026-07-28';
const LOG_LEVEL = 'io.modelcontextprotocol/logLevel';
const STEP_MS_MAX = 60_000;
const SELF = { name: 'e2e', version: '1' };
const ABLE = { sampling: {}, elicitation: { form: {} }, roots: { listChanged: true } };
const FORM = { username: 'Ann', email: 'ann@example.com', name: 'Ann', color: 'red', ok: true, context: 'a test' };
const SAMPLED = { role: 'assistant', model: 'e2e-model', stopReason: 'endTurn',
  content: { type: 'text', text: 'sampled words' } };

const isModern = kind => !kind.includes('1.32') && !kind.includes('legacy');
const chosen = kind => STEPS.filter(([, era]) => era === null || (era === 'modern') === isModern(kind));

/** A connected client as a step sees it. */
class Adapter {
  constructor(kind) {
    this.era = isModern(kind) ? 'modern' : 'legacy';
    this.heard = [];
    this.asked = [];
    this.action = 'accept';
    this.waiting = [];
  }

  news() {
    return new Promise(resolve => this.waiting.push(resolve));
  }

  hears(notification) {
    this.heard.push(notification);
    for (const wake of this.waiting.splice(0)) wake();
  }

  answer(request) {
    this.asked.push(request);
    if (request.method === 'sampling/createMessage') return SAMPLED;
    if (request.method === 'roots/list') return { roots: [{ uri: 'file:///e2e', name: 'e2e root' }] };
    if (this.action !== 'accept') return { action: this.action };
    const wanted = Object.keys(request.params.requestedSchema.properties);
    return { action: 'accept', content: Object.fromEntries(wanted.map(key => [key, FORM[key]])) };
  }

  call(name, args = {}, options = {}, meta = undefined) {
    const params = { name, arguments: args, ...(meta && { _meta: meta }) };
    return this.callWith(params, options);
  }

  /** Runs with logs wanted, in the way of the era: a level of the session, or one of each request. */
  async logs(run) {
    if (this.era === 'legacy') await this.sdk.setLoggingLevel('debug');
    await run(this.era === 'legacy' ? undefined : { [LOG_LEVEL]: 'debug' });
  }

  /** Runs while news of this kind are wanted. */
  async watch(filter, run) {
    if (this.era === 'modern') {
      const subscription = await this.sdk.listen(filter);
      await run();
      await subscription.close();
      return;
    }
    for (const uri of filter.resourceSubscriptions ?? []) await this.sdk.subscribeResource({ uri });
    await run();
    for (const uri of filter.resourceSubscriptions ?? []) await this.sdk.unsubscribeResource({ uri });
  }
}

const NEWS = ['notifications/message', 'notifications/tools/list_changed', 'notifications/prompts/list_changed',
  'notifications/resources/list_changed', 'notifications/resources/updated'];

async function connected(kind, url, need) {
  const adapter = new Adapter(kind);
  const first = kind.includes('1.32');
  const sdk = '@modelcontextprotocol/sdk';
  const { Client } = first ? need(`${sdk}/client/index.js`) : need('@modelcontextprotocol/client');
  const pinned = { mode: kind.includes('modern') ? { pin: MODERN } : kind.includes('auto') ? 'auto' : 'legacy' };
  const client = new Client(SELF, { capabilities: ABLE, ...(!first && { versionNegotiation: pinned }) });
  adapter.sdk = client;
  adapter.callWith = first
    ? (params, options) => client.callTool(params, undefined, options)
    : (params, options) => client.callTool(params, options);
  if (first) {
    const types = need(`${sdk}/types.js`);
    for (const name of ['CreateMessage', 'Elicit', 'ListRoots']) {
      client.setRequestHandler(types[`${name}RequestSchema`], request => adapter.answer(request));
    }
    for (const name of ['LoggingMessage', 'ToolListChanged', 'PromptListChanged', 'ResourceListChanged',
      'ResourceUpdated']) {
      client.setNotificationHandler(types[`${name}NotificationSchema`], one => adapter.hears(one));
    }
  } else {
    for (const method of ['sampling/createMessage', 'elicitation/create', 'roots/list']) {
      client.setRequestHandler(method, request => adapter.answer(request));
    }
    for (const method of NEWS) client.setNotificationHandler(method, one => adapter.hears(one));
  }
  await client.connect(transport(kind, new URL(url), need, first));
  return adapter;
}

function transport(kind, url, need, first) {
  const from = first
    ? file => need(`@modelcontextprotocol/sdk/client/${file}.js`)
    : () => need('@modelcontextprotocol/client');
  if (kind.endsWith('ws')) return new (from('websocket').WebSocketClientTransport)(url);
  if (kind.endsWith('sse')) return new (from('sse').SSEClientTransport)(url);
  return new (from('streamableHttp').StreamableHTTPClientTransport)(url);
}

async function verdict(run, kind, url, need) {
  let adapter;
  try {
    const all = async () => {
      adapter = await connected(kind, url, need);
      const version = adapter.era === 'modern' ? MODERN : '2025-11-25';
      const got = adapter.sdk.getNegotiatedProtocolVersion?.() ?? version;
      if (got !== version) throw new Error(`it speaks ${got}, not ${version}`);
      await run(adapter);
    };
    await within(STEP_MS_MAX, `not done within ${STEP_MS_MAX} ms`, all());
    await adapter.sdk.transport.terminateSession?.();
  } catch (error) {
    return `${error.name}: ${error.message}`;
  } finally {
    await adapter?.sdk.close();
  }
  return null;
}

async function main() {
  const [flag, kind] = process.argv.slice(2);
  if (flag === '--list') {
    for (const [name] of chosen(kind)) console.log(name);
    return;
  }
  for await (const line of createInterface({ input: process.stdin })) {
    const told = JSON.parse(line);
    const need = createRequire(`${told.modules}/`);
    for (const [name, , run] of chosen(told.kind)) {
      if (!told.scenarios.includes(name)) continue;
      const why = await verdict(run, told.kind, told.url, need);
      console.log(JSON.stringify({ name, why }));
    }
    break;
  }
  process.exit(0);
}

await main();
