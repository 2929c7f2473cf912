// The network runs in the server of `mnistcnn demo`.
"use strict";

const SERVER_LOST = "No connection to the server. Start mnistcnn demo again.";

async function describe() {
  const model = await (await reached("/model")).json();
  return { ...model, note: "No data leaves this machine." };
}

// Return the answer for a digit, u8 [28 * 28]: probabilities, heat map and time.
async function classify(digit) {
  const headers = { "Content-Type": "application/octet-stream" };
  const response = await reached("/classify", { method: "POST", headers, body: digit });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

async function reached(address, options) {
  try {
    return await fetch(address, options);
  } catch {
    throw new Error(SERVER_LOST);
  }
}
