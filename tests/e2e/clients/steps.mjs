// What a TypeScript client does with the reference server (tests/suites/servers/everything.py): each step is
// one function, and its name is what it shows. A step knows no SDK: it is given the adapter of
// typescript.mjs. `era` is the client's, if only one can do this.

import assert from 'node:assert/strict';

const TEXT = 'This is a simple text response for testing.';
const PATIENCE_MS = 20_000;

const textOf = result => {
  assert.ok(!result.isError, `the tool failed: ${JSON.stringify(result)}`);
  return result.content.map(part => part.text ?? '').join('');
};

const refused = async attempt => {
  try {
    await attempt;
  } catch (error) {
    return error;
  }
  throw new assert.AssertionError({ message: 'expected an error' });
};

/** The outcome, if it comes in time. */
export const within = async (ms, otherwise, outcome) => {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(otherwise)), ms);
  });
  try {
    return await Promise.race([outcome, late]);
  } finally {
    clearTimeout(timer);
  }
};

/** Waits for what `found` looks for among the notifications; they wake it. */
const until = async (client, found, what) => {
  const seen = async () => {
    for (;;) {
      const one = client.heard.find(found);
      if (one) return one;
      await client.news();
    }
  };
  return within(PATIENCE_MS, `never seen: ${what}`, seen());
};

export const STEPS = [
  ['says-who-it-is', null, async c => {
    assert.ok(c.sdk.getServerCapabilities().tools, 'no capability for tools');
    assert.equal(c.sdk.getInstructions(), 'Offers one of each thing that a client can use.');
  }],
  ['lists-tools', null, async c => {
    const names = (await c.sdk.listTools()).tools.map(tool => tool.name);
    assert.ok(names.includes('test_simple_text') && names.includes('json_schema_2020_12_tool'), names.join());
  }],
  ['keeps-a-schema-whole', null, async c => {
    const found = (await c.sdk.listTools()).tools.find(tool => tool.name === 'json_schema_2020_12_tool');
    assert.equal(found.inputSchema.$defs.address.$anchor, 'addressDef');
    assert.equal(found.inputSchema.additionalProperties, false);
    assert.ok(found.inputSchema.if && found.inputSchema.then && found.inputSchema.else);
  }],
  ['calls-tools', null, async c => {
    assert.equal(textOf(await c.call('test_simple_text')), TEXT);
    const kinds = (await c.call('test_multiple_content_types')).content.map(part => part.type);
    assert.deepEqual(kinds, ['text', 'image', 'resource']);
    assert.equal((await c.call('test_audio_content')).content[0].mimeType, 'audio/wav');
  }],
  ['sends-an-argument-in-a-header-too', null, async c => {
    // The SDK repeats only what it knows from the list.
    await c.sdk.listTools();
    assert.equal(textOf(await c.call('test_x_mcp_header', { region: 'Österreich' })), 'region Österreich');
  }],
  ['sees-a-tool-fail', null, async c => {
    const result = await c.call('test_error_handling');
    assert.equal(result.isError, true);
    assert.match(result.content[0].text, /intentionally/);
  }],
  ['is-refused-an-unknown-tool', null, async c => {
    assert.equal((await refused(c.call('no_such_tool'))).code, -32602);
    assert.equal(textOf(await c.call('test_simple_text')), TEXT);
  }],
  ['passes-a-megabyte-both-ways', null, async c => {
    const phone = '1'.repeat(1_000_000);
    const back = JSON.parse(textOf(await c.call('json_schema_2020_12_tool', { phone, contactMethod: 'phone' })));
    assert.equal(back.phone, phone);
  }],
  ['calls-fifty-at-once', null, async c => {
    const calls = Array.from({ length: 50 }, async (_, i) => {
      const result = await c.call('json_schema_2020_12_tool', { phone: `${i}`, contactMethod: 'phone' });
      assert.equal(JSON.parse(textOf(result)).phone, `${i}`);
    });
    await Promise.all(calls);
  }],
  ['hears-progress-in-order', null, async c => {
    const seen = [];
    await c.call('test_tool_with_progress', {}, { onprogress: step => seen.push([step.progress, step.total]) });
    assert.deepEqual(seen, [[0, 100], [50, 100], [100, 100]]);
  }],
  ['hears-the-log', null, async c => {
    await c.logs(async meta => {
      await c.call('test_tool_with_logging', {}, {}, meta);
    });
    const last = found => found.method === 'notifications/message' && found.params.data === 'Tool execution completed';
    await until(c, last, 'the last line of the log');
    assert.equal(c.heard.filter(one => one.method === 'notifications/message').length, 3);
  }],
  ['cancels-a-call', null, async c => {
    const count = async () => Number(textOf(await c.call('test_cancelled_count')));
    const before = await count();
    const stop = new AbortController();
    await refused(c.call('test_lingering', {}, { signal: stop.signal, onprogress: () => stop.abort('enough') }));
    const late = Date.now() + PATIENCE_MS;
    while ((await count()) === before) assert.ok(Date.now() < late, 'the server never heard of it');
    assert.equal(await count(), before + 1);
  }],
  ['reads-resources', null, async c => {
    const uris = (await c.sdk.listResources()).resources.map(resource => resource.uri);
    assert.deepEqual(uris, ['test://static-text', 'test://static-binary', 'test://watched-resource']);
    const [text] = (await c.sdk.readResource({ uri: uris[0] })).contents;
    assert.equal(text.text, 'This is the content of the static text resource.');
    assert.ok((await c.sdk.readResource({ uri: uris[1] })).contents[0].blob.length > 50);
  }],
  ['reads-from-a-template', null, async c => {
    const [template] = (await c.sdk.listResourceTemplates()).resourceTemplates;
    assert.equal(template.uriTemplate, 'test://template/{id}/data');
    const [contents] = (await c.sdk.readResource({ uri: 'test://template/7/data' })).contents;
    assert.equal(JSON.parse(contents.text).id, '7');
  }],
  ['is-refused-an-unknown-resource', null, async c => {
    const { code } = await refused(c.sdk.readResource({ uri: 'test://no-such-thing' }));
    assert.ok(code === -32602 || (code === -32002 && c.era === 'legacy'), `${code}`);
  }],
  ['gets-prompts', null, async c => {
    const names = (await c.sdk.listPrompts()).prompts.map(prompt => prompt.name);
    assert.ok(names.includes('test_prompt_with_arguments'), names.join());
    const filled = await c.sdk.getPrompt({ name: 'test_prompt_with_arguments', arguments: { arg1: 'a', arg2: 'b' } });
    assert.equal(filled.messages[0].content.text, "Prompt with arguments: arg1='a', arg2='b'");
    const wanting = c.sdk.getPrompt({ name: 'test_prompt_with_arguments', arguments: { arg1: 'a' } });
    assert.equal((await refused(wanting)).code, -32602);
  }],
  ['completes-an-argument', null, async c => {
    const ref = { type: 'ref/prompt', name: 'test_prompt_with_arguments' };
    const { completion } = await c.sdk.complete({ ref, argument: { name: 'arg1', value: 'par' } });
    assert.deepEqual(completion.values, ['paris', 'park', 'party']);
  }],
  ['samples', null, async c => {
    assert.equal(textOf(await c.call('test_sampling', { prompt: 'say it' })), 'LLM response: sampled words');
    assert.equal(c.asked.find(one => one.method === 'sampling/createMessage').params.maxTokens, 100);
  }],
  ['fills-a-form', null, async c => {
    const told = textOf(await c.call('test_elicitation', { message: 'Who are you?' }));
    assert.match(told, /action=accept/);
    assert.match(told, /"username": "Ann"/);
    assert.equal(c.asked.find(one => one.method === 'elicitation/create').params.message, 'Who are you?');
  }],
  ['declines-a-form', null, async c => {
    c.action = 'decline';
    assert.match(textOf(await c.call('test_elicitation', { message: 'Who are you?' })), /action=decline/);
  }],
  ['is-asked-in-the-middle-of-a-stream', null, async c => {
    assert.match(textOf(await c.call('test_streaming_elicitation')), /action=accept/);
  }],
  ['shows-its-roots', null, async c => {
    assert.equal(textOf(await c.call('test_input_required_result_list_roots')), 'file:///e2e');
  }],
  ['answers-three-questions-of-one-call', null, async c => {
    const told = JSON.parse(textOf(await c.call('test_input_required_result_multiple_inputs')));
    assert.equal(told.user_name.content.name, 'Ann');
    assert.equal(told.greeting.content.text, 'sampled words');
    assert.equal(told.client_roots.roots[0].uri, 'file:///e2e');
  }],
  ['answers-two-rounds-of-one-call', null, async c => {
    const told = textOf(await c.call('test_input_required_result_multi_round'));
    assert.match(told, /Ann.*red/);
  }],
  ['is-asked-by-a-prompt', null, async c => {
    const { messages } = await c.sdk.getPrompt({ name: 'test_input_required_result_prompt' });
    assert.match(messages[0].content.text, /a test/);
  }],
  ['is-told-of-a-changed-list-of-tools', null, async c => {
    await c.watch({ toolsListChanged: true }, async () => {
      await c.call('test_trigger_tool_change');
      await until(c, one => one.method === 'notifications/tools/list_changed', 'tools/list_changed');
    });
  }],
  ['is-told-of-a-changed-resource', null, async c => {
    const uri = 'test://watched-resource';
    await c.watch({ resourceSubscriptions: [uri] }, async () => {
      await c.call('test_trigger_resource_update', { uri });
      const told = await until(c, one => one.method === 'notifications/resources/updated', 'resources/updated');
      assert.equal(told.params.uri, uri);
    });
  }],
  ['pings', 'legacy', async c => {
    await c.sdk.ping();
  }],
];
