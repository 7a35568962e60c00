-- Nexmark's events as tables. Upstream bids have no key; these have one, so that ties can be broken and rows addressed.
-- p_time is when the loader brought the row, in place of the clock that some queries read upstream.
CREATE TABLE person (
    id            bigint PRIMARY KEY,
    name          text,
    email_address text,
    credit_card   text,
    city          text,
    state         text,
    date_time     timestamp(3) NOT NULL,
    extra         text
);
CREATE TABLE auction (
    id          bigint PRIMARY KEY,
    item_name   text,
    description text,
    initial_bid bigint,
    reserve     bigint,
    date_time   timestamp(3) NOT NULL,
    expires     timestamp(3) NOT NULL,
    seller      bigint,
    category    bigint,
    extra       text
);
CREATE TABLE bid (
    bid_id    bigint PRIMARY KEY,
    auction   bigint,
    bidder    bigint,
    price     bigint,
    channel   text,
    url       text,
    date_time timestamp(3) NOT NULL,
    extra     text,
    p_time    timestamp(3)
);
CREATE TABLE side_input (
    key   bigint PRIMARY KEY,
    value text
);

-- Rows that a stream of changes takes out in one cycle and puts back in a later one.
CREATE TABLE parked_person (LIKE person);
CREATE TABLE parked_auction (LIKE auction);
CREATE TABLE parked_bid (LIKE bid);
