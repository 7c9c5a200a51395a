/** A page with a shared document of Yjs, which y-webrtc keeps the same on all pages of a room. */

import { WebrtcProvider } from "y-webrtc";
import * as Y from "yjs";

const passed = [];
let shared;
let provider;

globalThis.client = {
  /** Join a room; resolves when the page has heard a message there: its own announcement, if no other page is there. */
  open(url, room, password = null) {
    const doc = new Y.Doc();
    shared = doc.getMap("shared");
    provider = new WebrtcProvider(room, doc, { signaling: [url], password, peerOpts: { config: { iceServers: [] } } });
    return new Promise((resolve) => {
      provider.signalingConns[0].on("message", ({ topic }) => topic === room && resolve(null));
    });
  },
  write: (key, value) => void shared.set(key, value),
  disconnect: () => provider.disconnect(),
  connect: () => provider.connect(),
  isSignaling: () => provider.signalingConns.some((connection) => connection.connected),
  has: (entries) => Object.entries(entries).every(([key, value]) => shared.get(key) === value),
  hasLinks: (count) =>
    provider.room !== null && [...provider.room.webrtcConns.values()].filter((each) => each.connected).length === count,
  /** Listen to what the server passes on in a room, as everybody can who knows its name. */
  listen(url, room) {
    const socket = new WebSocket(url);
    socket.onmessage = (event) => passed.push(JSON.parse(event.data));
    socket.onopen = () => socket.send(JSON.stringify({ type: "subscribe", topics: [room] }));
    return new Promise((resolve) => socket.addEventListener("open", () => resolve(null)));
  },
  passed: () => passed,
  /** Whether so many pages have sent messages of this type. */
  hasPassed: (type, count) =>
    new Set(passed.filter(({ data }) => data.type === type).map(({ data }) => data.from)).size === count,
};
