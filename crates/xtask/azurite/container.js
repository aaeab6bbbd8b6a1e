// Makes a container on the emulator: container.js ENDPOINT ACCOUNT KEY CONTAINER
const crypto = require("crypto");
const [endpoint, account, key, container] = process.argv.slice(2);
const date = new Date().toUTCString();
const headers = `x-ms-date:${date}\nx-ms-version:2021-12-02\n`;
const resource = `/${account}/${account}/${container}\nrestype:container`;
const signed = `PUT\n\n\n\n\n\n\n\n\n\n\n\n${headers}${resource}`;
const signature = crypto.createHmac("sha256", Buffer.from(key, "base64")).update(signed, "utf8").digest("base64");
fetch(`${endpoint}/${container}?restype=container`, {
  method: "PUT",
  headers: { "x-ms-date": date, "x-ms-version": "2021-12-02", Authorization: `SharedKey ${account}:${signature}` },
}).then(async (answer) => {
  if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
});
