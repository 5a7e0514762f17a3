// The screens of consumers: all of them, one of them or one of its topics, and one partition.

import { each, h, shown } from "./dom.js";
import { consumerCard } from "./consumer_card.js";
import { emptyState, emptyText } from "./empty_state.js";
import { partitionScreen } from "./partition.js";
import { breadcrumb, to } from "./router.js";
import { timeCharts } from "./time_charts.js";

export function consumers(params) {
  const address = { consumer: params.get("consumer") ?? undefined, topic: params.get("topic") ?? undefined, partition: params.get("partition") ?? undefined };
  if (address.partition !== undefined) return partitionScreen(address);
  return address.consumer === undefined ? allConsumers() : oneConsumer(address);
}

function allConsumers() {
  const none = emptyState();
  const list = h("div", { class: "stack" });
  return shown(h("div", { class: "stack" }, none, list), (snapshot) => {
    none.hidden = snapshot.consumers.length > 0;
    if (!snapshot.consumers.length) none.say(...emptyText.noConsumers(snapshot));
    each(list, snapshot.consumers, (one) => one.name, (one) => consumerCard(one, { link: true }));
  });
}

function oneConsumer({ consumer, topic }) {
  const none = emptyState();
  const place = h("div", { class: "stack" });
  const charts = timeCharts({ consumer, topic });
  const path = [["Consumers", to("consumers")], ...(topic === undefined ? [] : [[consumer, to("consumers", { consumer })]])];
  const screen = h("div", { class: "stack" }, breadcrumb(path), none, place, charts);
  screen.show = (snapshot) => {
    const found = snapshot.consumers.filter((one) => one.name === consumer);
    each(place, found, (one) => one.name, (one) => consumerCard(one, { topic }));
    none.hidden = found.length > 0;
    if (!found.length) none.say(`There is no consumer ${consumer}.`, h("p", {}, h("a", { href: to("consumers") }, "All consumers")));
    charts.hidden = !found.length;
    if (found.length) charts.show(snapshot);
  };
  screen.named = topic ?? consumer;
  screen.end = () => charts.end();
  return screen;
}
