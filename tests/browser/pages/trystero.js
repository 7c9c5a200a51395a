/**
 * A page that uses trystero's core over a WebSocket relay.
 *
 * Everything is trystero's own but the strategy, which is what its documentation asks of one: a few lines that
 * subscribe and publish, and that subscribe again when the socket has reconnected.
 */

import { createTopicStrategy, makeSocket, selfId } from "@trystero-p2p/core";

const heard = [];
const present = new Set();
const announced = new Set();
let socket;
let room;
let action;

async function relay(url) {
  const readers = new Map();
  const say = (message) => socket.send(JSON.stringify(message));
  socket = makeSocket(
    url,
    (text) => {
      const { topic, payload } = JSON.parse(text);
      announced.add((typeof payload === "string" ? JSON.parse(payload) : payload).peerId);
      readers.get(topic)?.(topic, payload);
    },
    () => readers.forEach((_, topic) => say({ type: "subscribe", topic })),
  );
  await socket.ready;
  return { readers, say };
}

const joinRoom = createTopicStrategy({
  // A connection that fails is tried again with the next announcement. Without this it comes only once a minute.
  steadyAnnounceIntervalMs: 5000,
  init: (config) => config.relayConfig.urls.map(relay),
  subscribeTopic({ readers, say }, topic, onMessage) {
    readers.set(topic, onMessage);
    say({ type: "subscribe", topic });
    return () => {
      readers.delete(topic);
      say({ type: "unsubscribe", topic });
    };
  },
  publishTopic: ({ say }, topic, payload) => say({ type: "publish", topic, payload }),
});

globalThis.client = {
  /** Join a room; gives the id of this page. */
  open(url, name, password) {
    const config = { appId: "tests", password, relayConfig: { urls: [url] }, rtcConfig: { iceServers: [] } };
    room = joinRoom(config, name);
    room.onPeerJoin = (id) => present.add(id);
    room.onPeerLeave = (id) => present.delete(id);
    action = room.makeAction("say", { onMessage: (text, { peerId }) => void heard.push(`${peerId}: ${text}`) });
    return selfId;
  },
  say: (text) => void action.send(text),
  async leave() {
    await room.leave();
    present.clear();
  },
  sees: (others) => others.length === present.size && others.every((other) => present.has(other)),
  /** Whether the server has brought a message of this page. */
  hasAnnounced: (id) => announced.has(id),
  isSignaling: () => socket.socket.readyState === WebSocket.OPEN,
  hasHeard: (texts) => texts.every((text) => heard.includes(text)),
};
