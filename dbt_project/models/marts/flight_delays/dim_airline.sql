select
    carrier,
    airline_name
from {{ ref('stg_airlines') }}
