// An authorization server: oidc-provider, as published, with JWT access tokens for whatever resource is asked
// for. Beside it, under /test, what a test must be able to do to one: rotate its keys, break it, and have it sign
// what it would not. Its port is the first line of its output.
//
//   authority.mjs MODULES     the folder of node_modules it is installed in

import crypto from 'node:crypto';
import http from 'node:http';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const modules = process.argv[2];
const { default: Provider } = await import(
  pathToFileURL(path.join(modules, 'oidc-provider', 'lib', 'index.js')).href
);

const CLIENTS = ['cli', 'other', 'gateway'];
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const KINDS = {
  RS256: () => crypto.generateKeyPairSync('rsa', { modulusLength: 2048 }),
  PS256: () => crypto.generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: () => crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: () => crypto.generateKeyPairSync('ed25519'),
};
// What each resource's tokens are signed by; `other` is what it was before.
let alg = 'RS256';
let keys = [];
let provider;
let asked = 0;
let isDown = false;
// Of exchanges: for whom each was asked, for how long they are good, and whom it is refused and why.
let exchanged = [];
let lasts = 600;
let refused = {};

const newKey = kind => {
  const { privateKey } = KINDS[kind]();
  return { ...privateKey.export({ format: 'jwk' }), kid: crypto.randomUUID(), alg: kind, use: 'sig' };
};

const begin = issuer => {
  provider = new Provider(issuer, {
    jwks: { keys },
    clients: CLIENTS.map(id => ({
      client_id: id,
      client_secret: `secret-of-${id}`,
      grant_types: id === 'gateway' ? ['client_credentials', EXCHANGE] : ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      id_token_signed_response_alg: keys[0].alg,
    })),
    scopes: ['mcp:use', 'mcp:other'],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:nobody',
        getResourceServerInfo: (_, resource) => ({
          scope: 'mcp:use mcp:other',
          audience: resource,
          accessTokenFormat: 'jwt',
          accessTokenTTL: 600,
          jwt: { sign: { alg } },
        }),
      },
    },
  });
  const fields = ['subject_token', 'subject_token_type', 'requested_token_type', 'audience', 'resource', 'scope'];
  provider.registerGrantType(EXCHANGE, exchange, fields);
};

const wrong = (ctx, error) => {
  ctx.status = 400;
  // Some servers say more than they should.
  ctx.body = { error, error_description: `for ${ctx.oidc.params.subject_token}` };
};

// RFC 8693, as far as a gateway needs it: a token of our own for one that is meant for the resource.
const exchange = async ctx => {
  const { params, client } = ctx.oidc;
  const [head, payload, signature] = params.subject_token.split('.');
  const of = part => JSON.parse(Buffer.from(part, 'base64url').toString());
  const subject = of(payload);
  exchanged.push({ sub: subject.sub, audience: params.audience, type: params.subject_token_type });
  const jwk = keys.find(key => key.kid === of(head).kid);
  const isOurs = jwk && crypto.verify(
    'sha256', Buffer.from(`${head}.${payload}`), crypto.createPublicKey({ key: jwk, format: 'jwk' }),
    Buffer.from(signature, 'base64url'));
  if (!isOurs || subject.iss !== issuer || subject.exp * 1000 <= Date.now()) return wrong(ctx, 'invalid_grant');
  if (refused[subject.sub]) return wrong(ctx, refused[subject.sub]);
  const token = new provider.AccessToken({
    accountId: subject.sub, client, scope: params.scope, gty: 'token-exchange', expiresIn: lasts,
    resourceServer: {
      audience: params.resource, accessTokenFormat: 'jwt', jwt: { sign: { alg } }, scope: params.scope,
    },
  });
  ctx.body = {
    access_token: await token.save(), issued_token_type: ACCESS_TOKEN, token_type: 'Bearer', expires_in: lasts,
    scope: params.scope,
  };
};

const sign = ({ header, claims, secret }) => {
  const part = value => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
  const message = `${part(header)}.${part(claims)}`;
  const jwk = keys.find(key => key.kid === header.kid) ?? keys[0];
  const key = crypto.createPrivateKey({ key: jwk, format: 'jwk' });
  let signature = '';
  if (header.alg === 'none') {
    signature = '';
  } else if (header.alg === 'HS256') {
    const publicKey = crypto.createPublicKey(key).export({ format: 'pem', type: 'spki' });
    signature = crypto.createHmac('sha256', secret ?? publicKey).update(message).digest('base64url');
  } else if (header.alg === 'EdDSA') {
    signature = crypto.sign(null, Buffer.from(message), key).toString('base64url');
  } else {
    const padding = header.alg.startsWith('PS')
      ? { padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }
      : {};
    signature = crypto
      .sign('sha256', Buffer.from(message), { key, dsaEncoding: 'ieee-p1363', ...padding })
      .toString('base64url');
  }
  return `${message}.${signature}`;
};

const body = async request => {
  const parts = [];
  for await (const part of request) parts.push(part);
  return JSON.parse(Buffer.concat(parts).toString() || '{}');
};

const CONTROLS = {
  '/test/rotate': told => {
    alg = told.alg ?? alg;
    keys = [newKey(alg), ...(told.keep ? keys : [])];
    begin(issuer);
    return { kid: keys[0].kid };
  },
  '/test/sign': told => ({ token: sign(told) }),
  '/test/asked': () => ({ asked }),
  '/test/exchange': told => {
    lasts = told.lasts ?? lasts;
    refused = told.refused ?? refused;
    return { exchanged };
  },
  '/test/down': told => {
    isDown = told.down;
    return {};
  },
};

const server = http.createServer(async (request, response) => {
  const control = CONTROLS[request.url];
  if (control) {
    const answer = JSON.stringify(control(await body(request)));
    response.writeHead(200, { 'content-type': 'application/json' }).end(answer);
    return;
  }
  asked += request.url === '/jwks' ? 1 : 0;
  if (isDown) {
    response.writeHead(500).end();
    return;
  }
  provider.callback()(request, response);
});

let issuer;
server.listen(0, '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  keys = [newKey(alg)];
  begin(issuer);
  console.log(server.address().port);
});
