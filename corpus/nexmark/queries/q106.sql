SELECT min(q.final) AS min_final
FROM (SELECT a.id, max(b.price) AS final
      FROM auction a JOIN bid b ON a.id = b.auction
      WHERE b.date_time BETWEEN a.date_time AND a.expires
      GROUP BY a.id) q;
