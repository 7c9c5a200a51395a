/** A page that uses PeerJS as its documentation says, and comes back whenever it has lost the server. */

import { Peer } from "peerjs";

const AGAIN = 300;

const connections = new Map();
const streams = new Map();
const heard = [];
const errors = [];
let peer;

function keep(connection) {
  connection.on("open", () => connections.set(connection.peer, connection));
  connection.on("data", (data) => heard.push(`${connection.peer}: ${data}`));
  connection.on("close", () => connections.delete(connection.peer));
}

function watch(call) {
  call.on("stream", (stream) => streams.set(call.peer, stream));
}

function picture() {
  const canvas = document.createElement("canvas");
  canvas.getContext("2d").fillRect(0, 0, 10, 10);
  return canvas.captureStream();
}

globalThis.client = {
  /** Resolves with the id of this page; rejects with the type of PeerJS's error. */
  open(port, id) {
    const options = { host: "127.0.0.1", port, path: "/", config: { iceServers: [] } };
    peer = id === undefined ? new Peer(options) : new Peer(id, options);
    peer.on("connection", keep);
    peer.on("call", (call) => {
      watch(call);
      call.answer(picture());
    });
    peer.on("disconnected", () => setTimeout(() => peer.destroyed || peer.open || peer.reconnect(), AGAIN));
    return new Promise((resolve, reject) => {
      peer.on("open", resolve);
      peer.on("error", (error) => {
        errors.push(error.type);
        reject(new Error(error.type));
      });
    });
  },
  connect: (other) => keep(peer.connect(other, { reliable: true })),
  call: (other) => watch(peer.call(other, picture())),
  say: (text) => connections.forEach((connection) => connection.send(text)),
  /** Leave the server for a moment; gives whether it has. */
  disconnect() {
    peer.disconnect();
    return peer.disconnected && !peer.open;
  },
  ids: () => new Promise((resolve) => peer.listAllPeers(resolve)),
  isOpen: () => peer.open && !peer.disconnected,
  isConnected: (others) => others.every((other) => connections.get(other)?.open),
  hasHeard: (texts) => texts.every((text) => heard.includes(text)),
  /**
   * PeerJS says that a connection is closed when the other page closes it. One whose page is gone without a word has
   * failed after 15 s, which the browser says, and PeerJS does not.
   */
  hasLost: (other) => ["failed", "closed", undefined].includes(connections.get(other)?.peerConnection?.connectionState),
  hasStream: (other) => streams.get(other)?.getVideoTracks().length === 1,
  hasFailed: (type) => errors.includes(type),
};
