// Package faultproxy is a TCP proxy for tests that does to connections what
// networks do:
//
//	proxy := faultproxy.New(t, faultproxy.Redis, server.Addrs[0])
//	client := connect("redis://" + proxy.Addr())
//
//	proxy.Set(faultproxy.Faults{HoldReplies: true}) // a one-way partition
//	proxy.Set(faultproxy.Faults{})                  // healed
//	proxy.Cut()                                     // every connection is reset
//
//	dropped := proxy.DropReply(1, faultproxy.Contains("xadd"))
//	publish(client)
//	<-dropped // the server has done it, the client will never know
//
// Faults act on the connections that are there and on those to come. Bytes that
// were held back while a fault lasted arrive after it, in order, as TCP sends
// again what was lost; what is on its way when a connection is reset is lost.
//
// To act on single requests and replies the proxy reads along, so it has to know
// the [Protocol]. It then forwards whole messages only. With [Bytes] it knows
// nothing and forwards what comes.
//
// A Kafka broker tells its clients where to connect: start it with the proxy's
// address in advertised.listeners, and then give the proxy its [Proxy.Target].
package faultproxy
