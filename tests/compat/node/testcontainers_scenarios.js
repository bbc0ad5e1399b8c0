// SPDX-License-Identifier: Apache-2.0
// What testcontainers does against the engine of DOCKER_HOST: generic containers with its wait strategies, files, exec,
// logs. Its reaper is switched off: the image that it runs from cannot be pulled where these tests run.
"use strict";
const assert = require("node:assert/strict");
const fs = require("node:fs");
const http = require("node:http");
const { GenericContainer, Wait } = require("testcontainers");

async function text(stream) {
  let out = "";
  for await (const piece of stream) out += piece.toString();
  return out;
}

function page(host, port) {
  return new Promise((resolve, reject) => {
    http.get({ host, port, path: "/" }, (answer) => text(answer).then(resolve, reject)).on("error", reject);
  });
}

async function until(condition, what) {
  const end = Date.now() + 20000;
  while (!condition()) {
    assert.ok(Date.now() < end, `still not: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function box(...command) {
  return new GenericContainer("busybox:latest").withCommand(command);
}

module.exports = {
  async wait_for_log() {
    const container = await box("sh", "-c", "echo starting; sleep 0.3; echo up and running; exec sleep 999").withWaitStrategy(Wait.forLogMessage("up and running")).start();
    assert.match(container.getName(), /\w+/);
    await container.stop({ timeout: 0 });
  },

  async wait_for_port_and_http() {
    const byPort = await new GenericContainer("nginx:latest").withExposedPorts(80).withWaitStrategy(Wait.forListeningPorts()).start();
    assert.match(await page(byPort.getHost(), byPort.getMappedPort(80)), /it works/);
    await byPort.stop();
    const byHttp = await new GenericContainer("nginx:latest").withExposedPorts(80).withWaitStrategy(Wait.forHttp("/", 80).forStatusCode(200)).start();
    assert.ok(byHttp.getFirstMappedPort() > 0);
    await byHttp.stop();
  },

  async wait_for_health_and_command() {
    const healthy = await box("sh", "-c", "sleep 0.3; touch /ok; exec sleep 999")
      .withHealthCheck({ test: ["CMD-SHELL", "test -e /ok"], interval: 100, timeout: 5000, retries: 100, startPeriod: 0 })
      .withWaitStrategy(Wait.forHealthCheck())
      .start();
    await healthy.stop({ timeout: 0 });
    const ready = await box("sh", "-c", "sleep 0.3; touch /ok; exec sleep 999").withWaitStrategy(Wait.forSuccessfulCommand("test -e /ok")).start();
    await ready.stop({ timeout: 0 });
    const once = await box("echo", "done").withWaitStrategy(Wait.forOneShotStartup()).start();
    await once.stop();
  },

  async exec() {
    const container = await box("sleep", "999").withUser("0").withEnvironment({ A: "env" }).withWorkingDir("/tmp").withWaitStrategy(Wait.forSuccessfulCommand("true")).start();
    const done = await container.exec(["sh", "-c", "echo $A; pwd; echo err >&2; exit 3"]);
    assert.deepEqual([done.exitCode, done.stdout, done.stderr], [3, "env\n/tmp\n", "err\n"]);
    const other = await container.exec(["sh", "-c", "id -u; echo $B; pwd"], { user: "1000", env: { B: "b" }, workingDir: "/" });
    assert.equal(other.output, "1000\nb\n/\n");
    await container.stop({ timeout: 0 });
  },

  async files() {
    const source = fs.mkdtempSync(`${process.env.HOME}/files-`);
    fs.writeFileSync(`${source}/inside`, "in a directory");
    const container = await box("sleep", "999")
      .withCopyContentToContainer([{ content: "content", target: "/etc/made", mode: 0o600 }])
      .withCopyDirectoriesToContainer([{ source, target: "/opt/copied" }])
      .withBindMounts([{ source, target: "/bound", mode: "ro" }])
      .withTmpFs({ "/t": "size=1m" })
      .withWaitStrategy(Wait.forSuccessfulCommand("test -e /etc/made"))
      .start();
    assert.equal((await container.exec("stat -c %a /etc/made".split(" "))).output.trim(), "600");
    assert.equal((await container.exec(["cat", "/etc/made", "/opt/copied/inside", "/bound/inside"])).output, "contentin a directoryin a directory");
    await container.copyContentToContainer([{ content: "later", target: "/tmp/later" }]);
    const packed = await text(await container.copyArchiveFromContainer("/tmp/later"));
    assert.ok(packed.includes("later"));
    await container.stop({ timeout: 0 });
  },

  async logs() {
    let consumed = "";
    const container = await box("sh", "-c", "echo one; echo two; exec sleep 999")
      .withLogConsumer((stream) => stream.on("data", (line) => (consumed += line)))
      .withWaitStrategy(Wait.forLogMessage(/two/))
      .start();
    const stream = await container.logs();
    let seen = "";
    stream.on("data", (piece) => (seen += piece.toString()));
    await until(() => /one[\s\S]*two/.test(seen), "the log arrives");
    await until(() => /one/.test(consumed), "the consumer is told");
    await container.stop({ timeout: 0 });
  },

  async restart_and_commit() {
    const container = await box("sh", "-c", "date +%s%N >> /starts; echo started; exec sleep 999").withWaitStrategy(Wait.forLogMessage("started")).withLabels({ l: "v" }).start();
    await container.restart({ timeout: 0 });
    assert.equal((await container.exec(["wc", "-l", "/starts"])).output.split(" ")[0], "2");
    assert.equal(container.getLabels().l, "v");
    const image = await container.commit({ repo: "node/committed", tag: "v1", deleteOnExit: false });
    await container.stop({ timeout: 0 });
    const again = await new GenericContainer("node/committed:v1").withCommand(["sleep", "999"]).withWaitStrategy(Wait.forSuccessfulCommand("test -e /starts")).start();
    assert.match(image, /^sha256:/);
    await again.stop({ timeout: 0 });
  },

  async failed_start() {
    await assert.rejects(box("/no/such/program").start(), /no such file or directory|not found/);
    await assert.rejects(box("sh", "-c", "sleep 999").withStartupTimeout(500).withWaitStrategy(Wait.forLogMessage("never said")).start(), /never said/);
  },
};
