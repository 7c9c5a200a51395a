/** Rooms of web pages that are connected directly with each other (WebRTC), through a rendezvous server. */

/** A value that `JSON.stringify` takes. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined }

/** What can be sent. The other side gets a value of JSON as it is, and bytes as an `ArrayBuffer`. Up to 16 MiB. */
export type Sendable = Json | ArrayBuffer | ArrayBufferView
export type Received = Json | ArrayBuffer

export type ErrorCode =
  | "network"
  | "timeout"
  | "unsupported"
  | "conflict"
  | "no-answer"
  | "dead"
  | "left"
  | "closed"
  | "flood"
  | "refused"
  | "cancelled"
  | "too-long"
  | "too-many"
  | "symmetric-pair"
  | "udp-blocked"
  | "no-common-family"
  | "no-path"

/** What went wrong. `message` is a sentence that can be shown to people. */
export class RendezvousError extends Error {
  /** One of the above, or a code of the server. It never changes. */
  readonly code: ErrorCode | (string & {})
  /** Status of HTTP; 0 if the server has not answered. */
  readonly status: number
  /** Seconds after which the server would take the request; 0 if it does not say. */
  readonly retryAfter: number
}

/** The path of a connection. */
export interface Path {
  /** Both pages on one network, directly through the internet, or through a TURN relay. */
  kind: "lan" | "direct" | "relay"
  protocol: string
  /** Milliseconds from the begin of the connection to its path. */
  ms: number
  /** The last round trip in milliseconds; null if the browser does not say. */
  rtt: number | null
}

export interface SendProgress {
  peer: Peer
  /** Bytes that were handed over to the browser. */
  sent: number
  size: number
}

/**
 * A file that is arriving. It is accepted unless it is cancelled, or no callback listens for files. Its name, type and
 * size are what the peer says: show them as text, and cancel files that are too long.
 */
export interface IncomingFile {
  readonly name: string
  readonly type: string
  /** Bytes. The file is never longer. */
  readonly size: number
  readonly received: number
  /** The file, when all of it is there. Rejected with "cancelled", or with the reason why the connection has ended. */
  readonly blob: Promise<Blob>
  onprogress: ((progress: { received: number; size: number }) => void) | null
  cancel(): void
}

export interface PeerEvents {
  message: [data: Received]
  file: [file: IncomingFile]
  stream: [stream: MediaStream]
  streamend: [stream: MediaStream]
  /** The path is known, or has changed. */
  path: [path: Path]
  /** The connection has ended; `reason` is a sentence. A peer that vanishes is noticed within 5 s. */
  leave: [reason: string]
}

/** Another page, to which there is a connection. */
export interface Peer {
  /** The server vouches for it; in a session it is the code. */
  readonly id: string
  /** Whatever the peer says, up to 128 characters: show it as text. Two peers may have the same name. */
  readonly name: string
  /** Null until the path is known. */
  readonly path: Path | null
  /** At most 64. */
  readonly streams: Set<MediaStream>
  readonly connection: RTCPeerConnection
  /** @returns removes the callback */
  on<E extends keyof PeerEvents>(event: E, callback: (...values: PeerEvents[E]) => void): () => void
  /**
   * Send a message. Messages arrive whole, and in the order in which they were sent.
   * @returns resolved when the browser has taken it
   * @throws {RendezvousError} "too-long", or the reason why the connection has ended
   */
  send(data: Sendable): Promise<void>
  /**
   * Send a file. Messages can be sent meanwhile.
   * @returns resolved when the other side has all of it
   * @throws {RendezvousError} "refused", or the reason why the connection has ended
   */
  sendFile(file: Blob, onProgress?: (progress: SendProgress) => void): Promise<void>
  addStream(stream: MediaStream): void
  removeStream(stream: MediaStream): void
  /** End the connection. The other side gets the reason "left". In a room it is made again while both are in the room. */
  close(): void
}

export type RoomEvents = {
  /** There is a connection to a peer. */
  join: [peer: Peer]
  /** The connection to a peer has ended; `reason` is a sentence. */
  leave: [peer: Peer, reason: string]
  message: [data: Received, peer: Peer]
  file: [file: IncomingFile, peer: Peer]
  stream: [stream: MediaStream, peer: Peer]
  streamend: [stream: MediaStream, peer: Peer]
  path: [path: Path, peer: Peer]
  /** No connection came about, and why. It is tried again as long as the peer is in the room. */
  failed: [peer: { id: string; name: string }, error: RendezvousError]
  /** Of the link to the server. Connections to peers stay while there is none. */
  state: [state: Room["state"]]
  /** The server has refused something. */
  error: [error: RendezvousError]
}

export type To = Peer | string | readonly (Peer | string)[]

/** Pages that have joined the same topic, each connected with each. */
export interface Room {
  readonly topic: string
  /** Peer id of this page. */
  readonly id: string
  readonly name: string
  readonly state: "connected" | "reconnecting" | "closed"
  /** Those with a connection, by id. */
  readonly peers: Map<string, Peer>
  on<E extends keyof RoomEvents>(event: E, callback: (...values: RoomEvents[E]) => void): () => void
  /** Send to some, or to all. @throws {RendezvousError} "left" if there is no connection to one of them */
  send(data: Sendable, to?: To): Promise<void>
  /** Send a file to some, or to all. Rejected if one of them refuses it or leaves; the others get it all the same. */
  sendFile(file: Blob, to?: To, onProgress?: (progress: SendProgress) => void): Promise<void>
  /** Without `to`, peers that come later get it too. @throws {RendezvousError} "left" as `send`, but at once */
  addStream(stream: MediaStream, to?: To): void
  removeStream(stream: MediaStream, to?: To): void
  leave(): void
}

export interface JoinOptions {
  /** Up to 128 characters, shown to others. */
  name?: string
  /** Up to 128 characters. Only pages with the same secret get a connection; the server checks it. */
  secret?: string
  /** Every peer gets them. */
  streams?: MediaStream[]
  /** Of this page, where the operator of the server has given out such. */
  registrationToken?: string
}

export interface Session {
  /** Other pages of the same origin enter it within 300 s. */
  readonly code: string
  /** Rejected if no page has entered the code in time, or if there is no path. */
  readonly peer: Promise<Peer>
  close(): void
}

export interface Listening {
  /** Ends it. */
  (): void
  /** What other pages call `connect` with. */
  readonly id: string
}

export interface Named {
  name?: string
  /** As in `JoinOptions`. */
  registrationToken?: string
}

export interface ClientOptions {
  /** URL of the server with its prefix; without it, the folder that the module came from. */
  server?: string | URL
  /** 16 to 256 letters, digits and the characters . _ ~ + / = -, where the operator has given out such tokens. */
  registrationToken?: string
  /** In place of the browser's own, for tests and for programs that are no browsers. Times are in milliseconds. */
  fetch?: typeof fetch
  WebSocket?: typeof WebSocket | null
  RTCPeerConnection?: typeof RTCPeerConnection
  setTimeout?: (callback: () => void, milliseconds: number) => unknown
  clearTimeout?: (timer: any) => void
  now?: () => number
  random?: () => number
  randomId?: () => string
  storage?: Pick<Storage, "getItem" | "setItem" | "removeItem"> | null
  page?: Pick<EventTarget, "addEventListener" | "removeEventListener">
}

/** Everything that this page has to do with one server. */
export class Client {
  constructor(options?: ClientOptions)
  /** Null before the first connection to the server. */
  readonly id: string | null
  /** @throws {RendezvousError} if the server cannot be reached or refuses */
  join(topic: string, options?: JoinOptions): Promise<Room>
  /** Accept the connections of pages that know the peer id of this one. */
  listen(callback: (peer: Peer) => void, options?: Named): Promise<Listening>
  /** Connect to a page that listens. @throws {RendezvousError} "no-answer" after 10 s, or why there is no path */
  connect(peerId: string, options?: Named): Promise<Peer>
  /** Open a session. @throws {RendezvousError} "code-taken" */
  open(code?: string, options?: Named & { topic?: string }): Promise<Session>
  /** Enter a code. @throws {RendezvousError} "not-found", "already-answered", or why there is no path */
  enter(code: string, options?: Named): Promise<Peer>
  close(): void
}

/** Where: the server that the module came from, or another one. */
export interface At {
  server?: string | URL
}

export function join(topic: string, options?: JoinOptions & At): Promise<Room>
export function listen(callback: (peer: Peer) => void, options?: Named & At): Promise<Listening>
export function connect(peerId: string, options?: Named & At): Promise<Peer>
export function open(code?: string, options?: Named & At & { topic?: string }): Promise<Session>
export function enter(code: string, options?: Named & At): Promise<Peer>

/** Say why ICE has found no path, from all candidates of both sides. */
export function explain(
  local: readonly RTCIceCandidateInit[],
  remote: readonly RTCIceCandidateInit[],
  iceServers: readonly RTCIceServer[]
): { code: ErrorCode; message: string }

/** Find which path carries a connection; null if none does. */
export function pathOf(stats: RTCStatsReport): Omit<Path, "ms"> | null
