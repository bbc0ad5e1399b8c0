// SPDX-License-Identifier: Apache-2.0
// Runs one scenario of a file: node scenario.js FILE NAME. Exit code 0 when it held, 1 with the reason on stderr.
// A scenario that does not come to its end (a promise that nobody settles) fails, too.
"use strict";
const path = require("node:path");

const [file, name] = process.argv.slice(2);
let ended = false;

process.on("exit", (code) => {
  if (!ended && code === 0) {
    console.error(`scenario ${name} of ${file} did not come to its end`);
    process.exitCode = 1;
  }
});

async function main() {
  const scenario = require(path.join(__dirname, file))[name];
  if (!scenario) throw new Error(`${file} has no scenario ${name}`);
  await scenario();
}

main().then(
  () => {
    ended = true;
    process.exit(0); // clients may keep connections open
  },
  (error) => {
    ended = true;
    console.error(error);
    process.exit(1);
  },
);
