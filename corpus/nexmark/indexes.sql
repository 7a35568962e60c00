-- The indexes a user of this schema has: the primary keys are in the schema, these are the columns the queries join on,
-- and the time of a bid.
CREATE INDEX auction_seller ON auction (seller);
CREATE INDEX bid_auction ON bid (auction);
CREATE INDEX bid_bidder ON bid (bidder);
CREATE INDEX bid_date_time ON bid (date_time);
