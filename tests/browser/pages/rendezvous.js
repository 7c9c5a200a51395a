/** A page that uses the server's own module, from another origin than the server's. */

const heard = [];
const files = [];
let room;

globalThis.client = {
  /** Join a room; gives the id of this page. */
  async open(url, topic, name) {
    const { join } = await import(`${url}/rendezvous.js`);
    room = await join(topic, { name });
    room.on("message", (data, peer) => heard.push(`${peer.name}: ${data}`));
    room.on("file", (incoming, peer) => incoming.blob.then((blob) => files.push([peer.name, incoming.name, blob])));
    return room.id;
  },
  say: (text) => room.send(text),
  /** Send a file of so many bytes; resolves when all others have it. */
  sendFile: (name, size) => room.sendFile(new File([new Uint8Array(size).fill(7)], name)),
  leave: () => room.leave(),
  isConnected: () => room.state === "connected",
  sees(names) {
    const seen = [...room.peers.values()].map((peer) => peer.name);
    return seen.length === names.length && names.every((name) => seen.includes(name));
  },
  knowsPaths: () => [...room.peers.values()].every((peer) => peer.path?.kind === "lan"),
  hasHeard: (texts) => texts.every((text) => heard.includes(text)),
  /** Whether a file has come, with every byte of it. */
  async hasFile(from, name, size) {
    const found = files.find((file) => file[0] === from && file[1] === name);
    if (!found || found[2].size !== size) {
      return false;
    }
    return new Uint8Array(await found[2].arrayBuffer()).every((byte) => byte === 7);
  },
};
