"""A client of agents: sends what stands on standard input, or reads a topic.

    client.py BROKER URL send         < lines
    client.py BROKER URL read TOPIC N > lines

A line is a JSON object: topic, body (base64), and either attributes, which are
written by the broker's binding, or headers, which are written as they are.
"""

import asyncio
import base64
import json
import sys
import time

import wire

PATIENCE = 60


class Redis:
    def __init__(self, url):
        import redis

        self.client = redis.Redis.from_url(url)

    def send(self, topic, attributes, headers, body):
        stream, shards = topic, int(self.client.hget("{%s}:topic" % topic, "shards") or 1)
        if shards > 1:
            stream = "%s:%d" % (topic, wire.shard_of(attributes["partitionkey"], shards) if attributes else 0)
        fields = dict(headers if attributes is None else wire.underscored(attributes))
        if body is not None:
            fields["data"] = body
        self.client.xadd(stream, fields)

    def finish(self):
        pass

    def read(self, topic, n):
        group, found, until = "python", [], time.monotonic() + PATIENCE
        shards = int(self.client.hget("{%s}:topic" % topic, "shards") or 1)
        streams = [topic] if shards == 1 else ["%s:%d" % (topic, i) for i in range(shards)]
        for stream in streams:
            self.client.xgroup_create(stream, group, id="0", mkstream=True)
        while len(found) < n and time.monotonic() < until:
            for stream, entries in self.client.xreadgroup(group, "one", {s: ">" for s in streams}, count=100, block=200):
                for entry, fields in entries:
                    fields = {k.decode(): v for k, v in fields.items()}
                    body = fields.pop("data", None)
                    headers = {k: v.decode(errors="surrogateescape") for k, v in fields.items()}
                    found.append((wire.from_underscored(headers), body))
                    self.client.xack(stream, group, entry)
        for stream in streams:
            self.client.xgroup_destroy(stream, group)
        return found


class Kafka:
    def __init__(self, url):
        self.brokers, self.failed = url, []
        self.producer = None

    def send(self, topic, attributes, headers, body):
        from confluent_kafka import Producer

        if self.producer is None:
            self.producer = Producer({"bootstrap.servers": self.brokers, "partitioner": "murmur2_random", "acks": "all"})
        key = None
        if attributes is not None:
            headers, key = wire.underscored(attributes), attributes.get("partitionkey")
        self.producer.produce(topic, value=body, key=key, headers=list(headers.items()), on_delivery=self.delivered)

    def delivered(self, error, message):
        if error is not None:
            self.failed.append(str(error))

    def finish(self):
        if self.producer is not None and self.producer.flush(PATIENCE) or self.failed:
            sys.exit("not delivered: %s" % self.failed)

    def read(self, topic, n):
        from confluent_kafka import Consumer

        consumer = Consumer({
            "bootstrap.servers": self.brokers, "group.id": "python." + topic,
            "auto.offset.reset": "earliest", "enable.auto.commit": False,
        })
        consumer.subscribe([topic])
        found, until = [], time.monotonic() + PATIENCE
        while len(found) < n and time.monotonic() < until:
            m = consumer.poll(0.2)
            if m is None or m.error():
                continue
            headers = {k: (v or b"").decode(errors="surrogateescape") for k, v in m.headers() or []}
            found.append((wire.from_underscored(headers), m.value()))
            consumer.commit(m, asynchronous=False)
        consumer.close()
        return found


class Nats:
    def __init__(self, url):
        self.url, self.waiting = url, []

    def send(self, topic, attributes, headers, body):
        self.waiting.append((topic, wire.dashed(attributes) if attributes is not None else headers, body, attributes))

    def finish(self):
        asyncio.run(self.publish())

    async def shards(self, js, topic):
        info = await js.stream_info(topic.replace(".", "~"))
        return int((info.config.metadata or {}).get("anywire.shards", 1))

    async def publish(self):
        import nats

        nc = await nats.connect(self.url)
        js = nc.jetstream()
        for subject, headers, body, attributes in self.waiting:
            shards = await self.shards(js, subject)
            if shards > 1:
                subject = "%s.%d" % (subject, wire.shard_of(attributes["partitionkey"], shards) if attributes else 0)
            await js.publish(subject, body or b"", headers=headers or None)
        await nc.close()

    def read(self, topic, n):
        return asyncio.run(self.consume(topic, n))

    async def consume(self, topic, n):
        import nats

        nc = await nats.connect(self.url)
        js = nc.jetstream()
        found, until = [], time.monotonic() + PATIENCE
        subject = topic if await self.shards(js, topic) == 1 else topic + ".*"
        sub = await js.pull_subscribe(subject, durable="python", stream=topic.replace(".", "~"))
        while len(found) < n and time.monotonic() < until:
            try:
                batch = await sub.fetch(100, timeout=1)
            except nats.errors.TimeoutError:
                continue
            for m in batch:
                found.append((wire.from_dashed(m.headers or {}), m.data))
                await m.ack_sync()
        await nc.close()
        return found


def main():
    broker, url, what = sys.argv[1:4]
    client = {"redis": Redis, "kafka": Kafka, "nats": Nats}[broker](url)
    if what == "send":
        for line in sys.stdin:
            m = json.loads(line)
            body = None if m.get("body") is None else base64.b64decode(m["body"])
            client.send(m["topic"], m.get("attributes"), m.get("headers"), body)
        client.finish()
        return
    for attributes, body in client.read(sys.argv[4], int(sys.argv[5])):
        body = None if body is None else base64.b64encode(body).decode()
        print(json.dumps({"attributes": attributes, "body": body}))


main()
