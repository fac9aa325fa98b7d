// Makes Node's own HTTPS client obey HTTPS_PROXY and NO_PROXY, so that the AWS SDK for
// JavaScript (v2, v3) and the like reach awsgate with no change to the program:
//
//     NODE_OPTIONS="--require=/path/to/awsgate/clients/preload.cjs"
//
// Node 18 and later. Node's own NODE_USE_ENV_PROXY does not do it: the SDK makes agents
// of its own, which that leaves alone. Here every https.Agent, whoever made it, keeps its
// settings and its pool; only how it opens a connection is another. A program's own proxy
// agent opens its own, and stays as it is. Not covered: fetch(), and HTTP/2.
"use strict";
const http = require("node:http");
const https = require("node:https");
const net = require("node:net");
const tls = require("node:tls");

const CONNECT_TIMEOUT_MS = 30_000;
const direct = https.Agent.prototype.createConnection;

const variable = (name) => process.env[name.toLowerCase()] || process.env[name] || "";
const proxy = proxyUrl(variable("HTTPS_PROXY"));
const exempt = variable("NO_PROXY").split(/[\s,]+/).filter(Boolean).map((rule) => rule.toLowerCase());

function proxyUrl(text) {
  if (!text) return null;
  return new URL(/^[a-z]+:\/\//i.test(text) ? text : `http://${text}`);
}

/** True if NO_PROXY names the host: "*", a name, a domain, either with a port. */
function isExempt(host, port) {
  const name = host.toLowerCase().replace(/^\[|\]$/g, "");
  return exempt.some((rule) => {
    if (rule === "*") return true;
    const [, pattern, only] = /^\[?(.*?)\]?(?::(\d+))?$/.exec(net.isIPv6(rule) ? `[${rule}]` : rule);
    if (only && Number(only) !== Number(port)) return false;
    const domain = pattern.replace(/^\*?\./, "");
    return name === domain || (!net.isIP(name) && name.endsWith(`.${domain}`));
  });
}

function authorization() {
  if (!proxy.username) return {};
  const pair = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  return { "Proxy-Authorization": `Basic ${Buffer.from(pair).toString("base64")}` };
}

function throughProxy(options, done) {
  const host = options.host ?? "localhost";
  const port = options.port ?? 443;
  const target = net.isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
  const secure = proxy.protocol === "https:";
  const ask = (secure ? https : http).request({
    host: proxy.hostname.replace(/^\[|\]$/g, ""),
    port: proxy.port || (secure ? 443 : 80),
    method: "CONNECT",
    path: target,
    headers: { Host: target, ...authorization() },
    timeout: CONNECT_TIMEOUT_MS,
    // In place of an agent, which would open this connection by way of the proxy too.
    createConnection: ({ host: name, port: number }) => {
      const to = { host: name, port: number };
      return secure ? tls.connect({ ...to, servername: net.isIP(name) ? "" : name }) : net.connect(to);
    },
  });
  ask.once("connect", (answer, socket) => {
    if (answer.statusCode !== 200) {
      socket.destroy();
      done(new Error(`${proxy.host} refused a tunnel to ${target}: ${answer.statusCode}`));
      return;
    }
    socket.setTimeout(0);
    const servername = options.servername || (net.isIP(host) ? "" : host);
    done(null, tls.connect({ ...options, socket, servername }));
  });
  ask.once("timeout", () => ask.destroy(new Error(`${proxy.host} did not answer`)));
  ask.once("error", done);
  ask.end();
}

if (proxy) {
  https.Agent.prototype.createConnection = function createConnection(options, done) {
    const port = options.port ?? 443;
    if (options.socketPath || isExempt(options.host ?? "localhost", port)) {
      return direct.call(this, options, done);
    }
    throughProxy(options, done);
    return undefined;
  };
}
