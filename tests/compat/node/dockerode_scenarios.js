// SPDX-License-Identifier: Apache-2.0
// What dockerode does against the engine of DOCKER_HOST: lives, streams, archives, images, events.
"use strict";
const assert = require("node:assert/strict");
const fs = require("node:fs");
const { PassThrough } = require("node:stream");
const { finished } = require("node:stream/promises");
const Docker = require("dockerode");
const WebSocket = require("ws");
const tar = require("tar-fs");

const socketPath = process.env.DOCKER_HOST.replace("unix://", "");
const docker = new Docker({ socketPath });

async function sleeper(more = {}) {
  const container = await docker.createContainer({ Image: "busybox", Cmd: ["sleep", "999"], ...more, HostConfig: { Init: true, ...more.HostConfig } });
  await container.start();
  return container;
}

// Everything a stream gives, as text.
async function text(stream) {
  let out = "";
  for await (const piece of stream) out += piece.toString();
  return out;
}

// A stream that keeps what is written to it in `seen`.
function collector() {
  const stream = new PassThrough();
  stream.seen = "";
  stream.on("data", (piece) => (stream.seen += piece.toString()));
  return stream;
}

// The two outputs of a multiplexed stream that ends.
async function demuxed(stream) {
  const out = new PassThrough();
  const err = new PassThrough();
  docker.modem.demuxStream(stream, out, err);
  stream.on("end", () => {
    out.end();
    err.end();
  });
  return Promise.all([text(out), text(err)]);
}

async function until(condition, what) {
  const end = Date.now() + 20000;
  while (!(await condition())) {
    assert.ok(Date.now() < end, `still not: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function refused(promise, status, words) {
  await assert.rejects(promise, (error) => {
    assert.equal(error.statusCode, status, String(error));
    assert.match(String(error), words);
    return true;
  });
}

module.exports = {
  async system() {
    assert.equal((await docker.ping()).toString(), "OK");
    const version = await docker.version();
    assert.equal(version.ApiVersion, "1.51");
    const info = await docker.info();
    assert.equal(info.Images, 3);
    const df = await docker.df();
    assert.equal(df.Images.length, 3);
  },

  async life() {
    const container = await docker.createContainer({ Image: "busybox", Cmd: ["sleep", "999"], name: "first", Labels: { k: "v" }, HostConfig: { Init: true } });
    await container.start();
    await refused(docker.createContainer({ Image: "busybox", name: "first" }), 409, /is already in use/);
    assert.equal((await container.inspect()).State.Running, true);
    await container.pause();
    assert.equal((await container.inspect()).State.Status, "paused");
    await container.unpause();
    await container.rename({ name: "second" });
    await container.update({ Memory: 64 << 20, MemorySwap: 128 << 20 });
    await container.restart({ t: 20 });
    const shown = await container.inspect();
    assert.deepEqual([shown.Name, shown.HostConfig.Memory], ["/second", 64 << 20]);
    const waiting = container.wait({ condition: "next-exit" });
    await container.kill({ signal: "SIGKILL" });
    assert.equal((await waiting).StatusCode, 137);
    await container.start();
    await container.stop({ t: 20 });
    await refused(container.kill(), 409, /is not running/);
    await container.remove();
    await refused(container.inspect(), 404, /No such container/);
  },

  async run() {
    const out = collector();
    const err = collector();
    const [result, container] = await docker.run("busybox", ["sh", "-c", "echo out; echo err >&2; exit 3"], [out, err], { Tty: false });
    assert.equal(result.StatusCode, 3);
    // run() resolves with the exit code; it does not wait for the last of the output.
    await until(() => out.seen === "out\n" && err.seen === "err\n", "both outputs arrive");
    await container.remove();
  },

  async run_with_a_terminal() {
    const out = collector();
    const [result] = await docker.run("busybox", ["sh", "-c", "test -t 1 && echo terminal"], out, {});
    assert.equal(result.StatusCode, 0);
    await until(() => out.seen === "terminal\r\n", "the output arrives");
  },

  async attach_half_close() {
    const container = await docker.createContainer({ Image: "busybox", Cmd: ["wc", "-c"], OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true });
    const stream = await container.attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack: true });
    const seen = demuxed(stream);
    await container.start();
    stream.write(Buffer.alloc(1 << 20));
    stream.end("0123456789");
    assert.equal((await seen)[0].trim(), String((1 << 20) + 10));
    assert.equal((await container.wait()).StatusCode, 0);
  },

  async attach_with_a_terminal() {
    const container = await docker.createContainer({ Image: "busybox", Cmd: ["sh"], Tty: true, OpenStdin: true });
    const stream = await container.attach({ stream: true, stdin: true, stdout: true, hijack: true });
    await container.start();
    await container.resize({ h: 33, w: 99 });
    const seen = text(stream);
    stream.write("stty size; exit 4\n");
    assert.match(await seen, /33 99/);
    assert.equal((await container.wait()).StatusCode, 4);
  },

  async attach_by_websocket() {
    const container = await docker.createContainer({ Image: "busybox", Cmd: ["sh", "-c", "read a; echo got $a"], OpenStdin: true, StdinOnce: true });
    const web = new WebSocket(`ws+unix://${socketPath}:/v1.51/containers/${container.id}/attach/ws?stream=1&stdin=1&stdout=1&stderr=1`);
    let seen = "";
    web.on("message", (data) => (seen += data.toString()));
    const closed = new Promise((resolve, reject) => {
      web.on("close", resolve);
      web.on("error", reject);
    });
    await new Promise((resolve, reject) => {
      web.on("open", resolve);
      web.on("error", reject);
    });
    await container.start();
    web.send("typed\n");
    await closed;
    assert.match(seen, /got typed/);
  },

  async exec() {
    const container = await sleeper();
    const exec = await container.exec({ Cmd: ["sh", "-c", "cat; pwd; id -u; echo $V; echo err >&2; exit 5"], AttachStdin: true, AttachStdout: true, AttachStderr: true, WorkingDir: "/tmp", User: "1000", Env: ["V=v"] });
    const stream = await exec.start({ hijack: true, stdin: true });
    const seen = demuxed(stream);
    stream.end("typed\n");
    assert.deepEqual(await seen, ["typed\n/tmp\n1000\nv\n", "err\n"]);
    await until(async () => !(await exec.inspect()).Running, "the exec has ended");
    assert.equal((await exec.inspect()).ExitCode, 5);

    const terminal = await container.exec({ Cmd: ["sh"], Tty: true, AttachStdin: true, AttachStdout: true });
    const typed = await terminal.start({ hijack: true, stdin: true, Tty: true });
    await terminal.resize({ h: 40, w: 120 });
    const shown = text(typed);
    typed.write("stty size; exit\n");
    assert.match(await shown, /40 120/);

    const plain = await container.exec({ Cmd: ["echo", "no hijack"], AttachStdout: true });
    assert.deepEqual(await demuxed(await plain.start({})), ["no hijack\n", ""]);
  },

  async logs() {
    const container = await docker.createContainer({ Image: "busybox", Cmd: ["sh", "-c", "echo e >&2; for i in 1 2 3; do sleep 0.1; echo $i; done"] });
    await container.start();
    assert.deepEqual(await demuxed(await container.logs({ follow: true, stdout: true, stderr: true })), ["1\n2\n3\n", "e\n"]);
    const whole = await container.logs({ stdout: true, stderr: true, tail: 1, timestamps: true });
    assert.match(whole.subarray(8).toString(), /^\d{4}-\d\d-\d\dT[\d:.]+Z 3\n$/);
  },

  async stats_and_top() {
    const container = await sleeper({ HostConfig: { Memory: 64 << 20 } });
    const once = await container.stats({ stream: false });
    assert.equal(once.memory_stats.limit, 64 << 20);
    const stream = await container.stats({ stream: true });
    let samples = "";
    stream.on("data", (piece) => (samples += piece.toString()));
    await until(() => samples.split("\n").length > 2, "two samples arrive");
    const [first, second] = samples.split("\n").slice(0, 2).map((line) => JSON.parse(line));
    assert.equal(second.preread, first.read);
    stream.destroy();
    await until(async () => (await container.top()).Processes.flat().some((word) => /sleep/.test(word)), "the program runs below init");
    assert.deepEqual((await container.top({ ps_args: "-o pid,comm" })).Titles, ["PID", "COMMAND"]);
  },

  async events() {
    const stream = await docker.getEvents({ filters: { type: ["container"] } });
    const seen = [];
    let rest = "";
    stream.on("data", (piece) => {
      const lines = (rest + piece.toString()).split("\n");
      rest = lines.pop();
      for (const line of lines.filter(Boolean)) seen.push(JSON.parse(line));
    });
    const container = await docker.createContainer({ Image: "busybox", Cmd: ["true"] });
    await container.start();
    await container.wait();
    await container.remove();
    await until(() => seen.at(-1)?.Action === "destroy", "the last event arrives");
    stream.destroy();
    assert.deepEqual(seen.map((e) => e.Action), ["create", "start", "die", "destroy"]);
    const replay = await docker.getEvents({ since: seen[0].time - 1, until: Math.ceil(Date.now() / 1000) + 1, filters: { container: [container.id] } });
    assert.equal((await text(replay)).trim().split("\n").length, 4);
  },

  async archives() {
    const container = await sleeper();
    const folder = fs.mkdtempSync(`${process.env.HOME}/archive-`);
    fs.writeFileSync(`${folder}/file`, "from here");
    await container.putArchive(tar.pack(folder), { path: "/tmp" });
    const about = await container.infoArchive({ path: "/tmp/file" });
    const stat = JSON.parse(Buffer.from(about.headers["x-docker-container-path-stat"], "base64").toString());
    assert.deepEqual([stat.name, stat.size], ["file", 9]);
    const out = `${folder}/out`;
    const extract = tar.extract(out);
    (await container.getArchive({ path: "/tmp/file" })).pipe(extract);
    await finished(extract);
    assert.equal(fs.readFileSync(`${out}/file`, "utf8"), "from here");
    const changes = await container.changes();
    assert.ok(changes.some((change) => change.Path === "/tmp/file" && change.Kind === 1));
    await refused(container.getArchive({ path: "/nowhere" }), 404, /Could not find the file \/nowhere/);
    assert.ok((await text(await container.export())).includes("bin/busybox"));
  },

  async lists_and_prune() {
    const running = await sleeper({ name: "lists-one", Labels: { a: "1" } });
    const created = await docker.createContainer({ Image: "busybox", name: "lists-two", Labels: { a: "2" } });
    const names = async (options) => (await docker.listContainers(options)).map((c) => c.Names[0]).sort();
    assert.deepEqual(await names(), ["/lists-one"]);
    assert.deepEqual(await names({ all: true }), ["/lists-one", "/lists-two"]);
    assert.deepEqual(await names({ all: true, filters: { label: ["a=2"] } }), ["/lists-two"]);
    assert.deepEqual(await names({ filters: JSON.stringify({ status: ["created"] }) }), ["/lists-two"]);
    const pruned = await docker.pruneContainers({ filters: { label: ["a=2"] } });
    assert.deepEqual(pruned.ContainersDeleted, [created.id]);
    assert.equal((await running.inspect()).State.Running, true);
  },

  async images() {
    const image = docker.getImage("busybox");
    await image.tag({ repo: "node/box", tag: "v1" });
    const packed = await docker.getImage("node/box:v1").get();
    const file = `${process.env.HOME}/box.tar`;
    const sink = fs.createWriteStream(file);
    packed.pipe(sink);
    await finished(sink);
    await docker.getImage("node/box:v1").remove();
    await refused(docker.getImage("node/box:v1").inspect(), 404, /No such image/);
    const progress = await docker.loadImage(file);
    const steps = await new Promise((resolve, reject) => docker.modem.followProgress(progress, (error, all) => (error ? reject(error) : resolve(all))));
    assert.ok(steps.some((step) => /Loaded image: node\/box:v1/.test(step.stream)));
    assert.equal((await docker.getImage("node/box:v1").inspect()).Id, (await image.inspect()).Id);
    assert.equal((await docker.listImages({ filters: { reference: ["node/box"] } })).length, 1);
    assert.ok((await image.history()).length > 0);
  },

  async pull_and_push() {
    const name = `${process.env.TEST_REGISTRY}/node/pulled`;
    const follow = async (stream) => new Promise((resolve, reject) => docker.modem.followProgress(stream, (error, all) => (error ? reject(error) : resolve(all))));
    await docker.getImage("busybox").tag({ repo: name, tag: "v1" });
    await follow(await docker.getImage(`${name}:v1`).push({ authconfig: {} }));
    await docker.getImage(`${name}:v1`).remove();
    const steps = await follow(await docker.pull(`${name}:v1`));
    assert.ok(steps.some((step) => /Digest: sha256:/.test(step.status)));
    const out = collector();
    await docker.run(`${name}:v1`, ["echo", "pulled"], out, {});
    await until(() => out.seen === "pulled\r\n", "the output arrives");
    await refused(docker.pull(`${name}:none`), 404, /not found/);
  },

  async many_at_once() {
    const containers = await Promise.all(Array.from({ length: 6 }, (_, i) => docker.createContainer({ Image: "busybox", Cmd: ["sh", "-c", `echo ${i}; exit ${i}`] })));
    const codes = await Promise.all(
      containers.map(async (container) => {
        await container.start();
        return (await container.wait()).StatusCode;
      }),
    );
    assert.deepEqual(codes, [0, 1, 2, 3, 4, 5]);
    await Promise.all(containers.map((container) => container.remove()));
  },
};
